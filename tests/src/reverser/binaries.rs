//! Our own two programs, built by the cargo that runs the tests.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context, Result, bail};

/// Where the two programs are.
#[derive(Clone, Debug)]
pub struct Binaries {
    /// `gitops-reverser`
    pub reverser: PathBuf,
    /// `gitops-reverser-webhook`
    pub webhook: PathBuf,
}

/// What cargo sets for the package whose test it runs. Build scripts that read it (ring's does) would take the other
/// package's values for a change, and half of the workspace would be built anew at each turn.
const OF_THE_RUNNING_PACKAGE: [&str; 5] = [
    "CARGO_PKG_",
    "CARGO_MANIFEST_",
    "CARGO_CRATE_NAME",
    "CARGO_BIN_",
    "CARGO_PRIMARY_PACKAGE",
];

// === impl Binaries ===

impl Binaries {
    /// Builds both, once per process, with the profile and target directory of the calling test; or takes them from
    /// `GITOPS_REVERSER_BIN_DIR`. Blocks meanwhile.
    ///
    /// # Errors
    /// If the build fails; cargo's messages are on standard error.
    pub fn get() -> Result<Self> {
        static BUILT: OnceLock<Result<Binaries, String>> = OnceLock::new();
        BUILT
            .get_or_init(|| Self::find_or_build().map_err(|error| format!("{error:#}")))
            .clone()
            .map_err(anyhow::Error::msg)
    }

    fn find_or_build() -> Result<Self> {
        let given = std::env::var_os("GITOPS_REVERSER_BIN_DIR").filter(|value| !value.is_empty());
        let binaries = match given {
            Some(directory) => Self::below(Path::new(&directory)),
            None => Self::below(&build()?),
        };
        for program in [&binaries.reverser, &binaries.webhook] {
            if !program.is_file() {
                bail!("there is no {}", program.display());
            }
        }
        Ok(binaries)
    }

    fn below(directory: &Path) -> Self {
        Self {
            reverser: directory.join("gitops-reverser"),
            webhook: directory.join("gitops-reverser-webhook"),
        }
    }
}

/// Runs cargo and returns the directory of what it built.
fn build() -> Result<PathBuf> {
    let executable = std::env::current_exe().context("find the running test")?;
    let Place {
        target,
        profile,
        output,
    } = Place::of(&executable)?;
    let _ = writeln!(std::io::stderr(), "test bed: building reverser and webhook");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if OF_THE_RUNNING_PACKAGE
            .iter()
            .any(|prefix| text.starts_with(prefix))
        {
            cargo.env_remove(&name);
        }
    }
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml");
    let status = cargo
        .args([
            "build", "--quiet", "-p", "reverser", "-p", "webhook", "--bins",
        ])
        .args(["--profile", &profile])
        .arg("--manifest-path")
        .arg(workspace)
        .arg("--target-dir")
        .arg(target)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .context("start cargo")?;
    if !status.success() {
        bail!(
            "cargo build -p reverser -p webhook failed ({status}); what it said is on standard error"
        );
    }
    Ok(output)
}

/// Where a test lies: `{target}/{profile}/deps/{test}`, or `{target}/{profile}/{program}`.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    target: PathBuf,
    profile: String,
    output: PathBuf,
}

// === impl Place ===

impl Place {
    fn of(executable: &Path) -> Result<Self> {
        let output = executable
            .ancestors()
            .skip(1)
            .find(|directory| !directory.ends_with("deps"))
            .context("the running test lies in no directory")?;
        let name = output
            .file_name()
            .context("the running test lies at the root")?;
        let profile = match name.to_str().context("the profile is no text")? {
            "debug" => "dev",
            other => other,
        };
        let target = output
            .parent()
            .context("the running test lies at the root")?;
        Ok(Self {
            target: target.to_owned(),
            profile: profile.to_owned(),
            output: output.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_profile_is_the_running_tests_own() {
        for (executable, profile, output) in [
            ("/t/debug/deps/it-1", "dev", "/t/debug"),
            ("/t/debug/demo", "dev", "/t/debug"),
            ("/t/release/deps/it-1", "release", "/t/release"),
        ] {
            let place = Place::of(Path::new(executable)).unwrap();
            assert_eq!(place.profile, profile);
            assert_eq!(place.output, Path::new(output));
            assert_eq!(place.target, Path::new("/t"));
        }
    }
}
