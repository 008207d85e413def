//! The introspection API as an operator asks it: with the real grpcurl.

use std::path::{Path, PathBuf};

use serde_json::Value;
use tests::assets::Tool;
use tests::control_plane::ControlPlane;
use tests::reverser::Reverser;
use tokio::process::Command;

pub(crate) const INTROSPECTION: &str = "gitopsreverser.v1.Introspection";

pub(crate) struct Grpcurl {
    program: PathBuf,
    address: String,
}

impl Grpcurl {
    /// grpcurl for the introspection address of a reverser.
    pub(crate) async fn of(plane: &ControlPlane, reverser: &Reverser) -> Self {
        let assets = plane.assets().clone();
        // Built from source where there is none, which takes a minute.
        let program = tokio::task::spawn_blocking(move || assets.get(Tool::Grpcurl))
            .await
            .unwrap()
            .unwrap();
        Self {
            program,
            address: reverser.introspection_address().to_owned(),
        }
    }

    async fn run(&self, flags: &[&str], words: &[&str]) -> Result<String, String> {
        let output = Command::new(&self.program)
            .args(["-plaintext", "-max-time", "30"])
            .args(flags)
            .arg(&self.address)
            .args(words)
            .output()
            .await
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        if output.status.success() {
            Ok(text(output.stdout))
        } else {
            Err(text(output.stderr))
        }
    }

    /// The services that reflection knows, or the methods of one.
    pub(crate) async fn list(&self, service: Option<&str>) -> Vec<String> {
        let words: Vec<&str> = ["list"].into_iter().chain(service).collect();
        let text = self.run(&[], &words).await.unwrap();
        text.lines().map(ToOwned::to_owned).collect()
    }

    /// The definition of a symbol.
    pub(crate) async fn describe(&self, symbol: &str) -> String {
        self.run(&[], &["describe", symbol]).await.unwrap()
    }

    /// Calls a method found through reflection; the error is what grpcurl prints.
    pub(crate) async fn call(&self, method: &str, request: Value) -> Result<Value, String> {
        let request = request.to_string();
        let flags = ["-emit-defaults", "-d", request.as_str()];
        let answer = self.run(&flags, &[method]).await?;
        Ok(serde_json::from_str(&answer).unwrap())
    }

    /// Calls a method of the project's .proto files, whatever reflection says.
    pub(crate) async fn call_unlisted(&self, file: &str, method: &str) -> Result<String, String> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../proto/proto");
        let folder = folder.display().to_string();
        self.run(
            &["-import-path", &folder, "-proto", file, "-d", ""],
            &[method],
        )
        .await
    }

    /// `Introspection/{method}`.
    pub(crate) async fn ask(&self, method: &str, request: Value) -> Value {
        self.call(&format!("{INTROSPECTION}/{method}"), request)
            .await
            .unwrap()
    }
}
