//! The programs that the test bed runs: found where envtest users have them, or built once from pinned Go modules.
//!
//! `KUBEBUILDER_ASSETS`, the ecosystem's convention, is looked at first. What it does not hold (setup-envtest brings no
//! kube-controller-manager) is built from `tests/assets/<set>/go.mod` into
//! `${XDG_CACHE_HOME:-~/.cache}/gitops-reverser/<tool>-<version>-<hash>/`, where the hash covers go.mod, go.sum and the build's flags,
//! so that every clone on the machine shares it and a changed pin builds anew.

mod tool;

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use xxhash_rust::xxh64::xxh64;

pub use tool::Tool;
use tool::module_version;

use crate::process::{MissingTool, find_program};

/// How often the build says that it is still at it.
const PROGRESS_EVERY: Duration = Duration::from_secs(15);

/// Where programs come from.
#[derive(Clone, Debug)]
pub struct Assets {
    kubebuilder: Option<PathBuf>,
    modules: PathBuf,
    cache: PathBuf,
}

// === impl Assets ===

impl Assets {
    /// Looks at the environment; nothing is built yet.
    ///
    /// # Errors
    /// If there is neither `XDG_CACHE_HOME` nor `HOME`.
    pub fn locate() -> Result<Self> {
        let variable = |name| {
            std::env::var_os(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        let cache = variable("XDG_CACHE_HOME")
            .or_else(|| variable("HOME").map(|home| home.join(".cache")))
            .context("neither XDG_CACHE_HOME nor HOME is set: there is no place for what the test bed builds")?;
        Ok(Self {
            kubebuilder: variable("KUBEBUILDER_ASSETS"),
            modules: Path::new(env!("CARGO_MANIFEST_DIR")).join("assets"),
            cache: cache.join("gitops-reverser"),
        })
    }

    /// The path of a program, built first if need be: minutes once, with progress on standard error, then no time at all.
    /// Blocks meanwhile. Any number of threads and processes may ask at once; one builds.
    ///
    /// # Errors
    /// [`MissingTool`] without Go; else what Go said.
    pub fn get(&self, tool: Tool) -> Result<PathBuf> {
        let given = self
            .kubebuilder
            .as_ref()
            .map(|directory| directory.join(tool.name()));
        if let Some(program) = given.filter(|program| program.is_file()) {
            return Ok(program);
        }
        let build = Build::of(tool, &self.modules.join(tool.set()))?;
        let directory = self.cache.join(&build.key);
        let program = directory.join(tool.name());
        if !program.is_file() {
            self.build_once(&build, &directory, &program)
                .with_context(|| {
                    format!(
                        "build {} {} from {}",
                        tool.name(),
                        build.version,
                        build.modules.display()
                    )
                })?;
        }
        Ok(program)
    }

    /// The source of a program's module, of the version that is built: it holds more than programs, such as CRDs. Fetched first if
    /// need be.
    ///
    /// # Errors
    /// [`MissingTool`] without Go; else what Go said.
    pub fn source(&self, tool: Tool) -> Result<PathBuf> {
        require_go()?;
        let output = Command::new("go")
            .args(["mod", "download", "-json", tool.module()])
            .current_dir(self.modules.join(tool.set()))
            .env("GOWORK", "off")
            .output()
            .context("start go")?;
        let answer = String::from_utf8_lossy(&output.stdout);
        let module: serde_json::Value = serde_json::from_str(&answer).with_context(|| {
            format!(
                "go mod download: {}",
                String::from_utf8_lossy(&output.stderr)
            )
        })?;
        let directory = module["Dir"].as_str();
        Ok(directory
            .with_context(|| format!("go mod download: {answer}"))?
            .into())
    }

    fn build_once(&self, build: &Build, directory: &Path, program: &Path) -> Result<()> {
        std::fs::create_dir_all(&self.cache)
            .with_context(|| format!("make {}", self.cache.display()))?;
        let lock = File::create(self.cache.join(format!(".{}.lock", build.tool.name())))
            .context("make the lock file")?;
        if lock.try_lock().is_err() {
            say(&format!(
                "waiting for another process that builds {}",
                build.tool.name()
            ));
            lock.lock().context("lock the cache")?;
        }
        if program.is_file() {
            return Ok(());
        }
        let temporary = tempfile::Builder::new()
            .prefix(&format!(".{}-", build.tool.name()))
            .tempdir_in(&self.cache)
            .context("make a directory to build in")?;
        build.run(&temporary.path().join(build.tool.name()))?;
        if directory.exists() {
            std::fs::remove_dir_all(directory).context("remove what is left of an older build")?;
        }
        std::fs::rename(temporary.keep(), directory).context("move the build to its place")
    }
}

/// One `go build`.
struct Build {
    tool: Tool,
    version: String,
    modules: PathBuf,
    flags: Vec<String>,
    key: String,
}

// === impl Build ===

impl Build {
    fn of(tool: Tool, modules: &Path) -> Result<Self> {
        let read = |name: &str| {
            let path = modules.join(name);
            std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
        };
        let (go_mod, go_sum) = (read("go.mod")?, read("go.sum")?);
        let flags = vec![
            "-trimpath".to_owned(),
            "-ldflags".to_owned(),
            tool.linker_flags(&go_mod)?,
        ];
        let version = module_version(&go_mod, tool.module())?.to_owned();
        let hash = xxh64([go_mod, go_sum, flags.join(" ")].join("\0").as_bytes(), 0);
        let key = format!("{}-{version}-{:08x}", tool.name(), hash >> 32);
        Ok(Self {
            tool,
            version,
            modules: modules.to_owned(),
            flags,
            key,
        })
    }

    fn run(&self, output: &Path) -> Result<()> {
        let name = self.tool.name();
        require_go()?;
        say(&format!(
            "building {name} {} from its Go modules: once on this machine, about {} on two cores",
            self.version,
            self.tool.takes()
        ));
        let mut go = Command::new("go")
            .args(["build", "-v"])
            .args(&self.flags)
            .arg("-o")
            .arg(output)
            .arg(self.tool.package())
            .current_dir(&self.modules)
            .env("GOWORK", "off")
            .env_remove("GOOS")
            .env_remove("GOARCH")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("start go")?;
        let lines = go.stderr.take().context("go has no standard error")?;
        follow(name, BufReader::new(lines))?;
        let status = go.wait().context("wait for go")?;
        if !status.success() {
            bail!("go build failed ({status}); what it said is above");
        }
        Ok(())
    }
}

fn require_go() -> Result<()> {
    if find_program("go".as_ref()).is_some() {
        return Ok(());
    }
    let missing = MissingTool {
        tool: "go",
        package: "Go 1.25 or newer, or point KUBEBUILDER_ASSETS at built programs",
    };
    Err(anyhow::Error::new(missing))
}

/// Passes on what go says, except for the name of every package it compiled, of which only the number is told.
fn follow(name: &str, lines: impl BufRead) -> Result<()> {
    let start = Instant::now();
    let mut said = start;
    let mut packages = 0_u32;
    for line in lines.lines() {
        let line = line.context("read what go says")?;
        if is_package(&line) {
            packages += 1;
        } else {
            say(&line);
        }
        if said.elapsed() >= PROGRESS_EVERY {
            said = Instant::now();
            say(&format!(
                "{name}: {packages} packages compiled in {} s",
                start.elapsed().as_secs()
            ));
        }
    }
    say(&format!(
        "{name}: {packages} packages compiled in {} s, the rest was cached",
        start.elapsed().as_secs()
    ));
    Ok(())
}

fn is_package(line: &str) -> bool {
    !line.is_empty() && !line.contains([' ', ':', '\t', '#'])
}

/// Writes past the test harness's capture: a first run of minutes must not look as if it hung.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "test bed: {line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tool_is_pinned() {
        let assets = Assets::locate().unwrap();
        for tool in [
            Tool::Etcd,
            Tool::KubeApiserver,
            Tool::KubeControllerManager,
            Tool::Kubectl,
            Tool::Helm,
            Tool::Grpcurl,
            Tool::Sops,
            Tool::AgeKeygen,
            Tool::SourceController,
            Tool::KustomizeController,
        ] {
            let build = Build::of(tool, &assets.modules.join(tool.set())).unwrap();
            assert!(
                build.key.starts_with(&format!("{}-v", tool.name())),
                "{}",
                build.key
            );
        }
    }

    #[test]
    fn package_names_are_counted_and_all_else_is_shown() {
        assert!(is_package("k8s.io/api/core/v1"));
        assert!(!is_package("go: downloading k8s.io/api v0.34.4"));
        assert!(!is_package("# k8s.io/api/core/v1"));
        assert!(!is_package("core/v1/x.go:3:1: syntax error"));
    }
}
