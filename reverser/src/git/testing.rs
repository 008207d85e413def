//! Real repositories, made and looked at with the git command.

use std::path::{Path, PathBuf};
use std::process::Command;

use bytes::Bytes;
use tempfile::TempDir;

use super::{Credentials, Engine, EngineError, EngineOptions, RepoUrl};
use crate::commit::{CommitPlan, PathChange, Signature};

/// A bare repository that serves as the remote, and room for clones.
pub(crate) struct Bed {
    pub(crate) room: TempDir,
}

/// Output of git, without the last line end. Nobody's configuration is read.
pub(crate) fn git(directory: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .current_dir(directory)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("HOME", directory)
        .args([
            "-c",
            "user.name=Somebody Else",
            "-c",
            "user.email=else@example.com",
            "-c",
            "init.defaultBranch=main",
        ])
        .args(arguments)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "git {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout)
        .unwrap()
        .trim_end()
        .to_owned()
}

impl Bed {
    pub(crate) fn empty() -> Self {
        let bed = Self {
            room: TempDir::new().unwrap(),
        };
        std::fs::create_dir(bed.remote()).unwrap();
        git(&bed.remote(), &["init", "--bare", "-q"]);
        bed
    }

    /// With a `README` on main.
    pub(crate) fn with_readme() -> Self {
        let bed = Self::empty();
        bed.somebody_pushes("main", &[("README", Some("hello\n"))]);
        bed
    }

    pub(crate) fn remote(&self) -> PathBuf {
        self.room.path().join("remote.git")
    }

    pub(crate) fn work_dir(&self) -> PathBuf {
        self.room.path().join("clone")
    }

    pub(crate) fn options(&self, branch: &str) -> EngineOptions {
        EngineOptions {
            work_dir: self.work_dir(),
            url: RepoUrl::parse(&format!("file://{}", self.remote().display())).unwrap(),
            branch: branch.to_owned(),
            credentials: Credentials::none(),
            committer: person("GitOps Reverser"),
            signer: None,
            folders: vec!["x".to_owned(), "y".to_owned()],
            marker: "owner".to_owned(),
        }
    }

    pub(crate) fn open(&self, branch: &str) -> Engine {
        self.try_open(branch).unwrap()
    }

    pub(crate) fn try_open(&self, branch: &str) -> Result<Engine, EngineError> {
        Engine::open(self.options(branch))
    }

    /// A checkout of `branch` (from the default branch where it is missing), handed to `change`, committed and pushed.
    pub(crate) fn somebody(&self, branch: &str, push: &[&str], change: impl FnOnce(&Path)) {
        let checkout = TempDir::new_in(self.room.path()).unwrap();
        let directory = checkout.path();
        git(
            directory,
            &["clone", "-q", self.remote().to_str().unwrap(), "."],
        );
        if self.has_branch(branch) {
            git(
                directory,
                &["checkout", "-q", "-B", branch, &format!("origin/{branch}")],
            );
        } else {
            git(directory, &["checkout", "-q", "-B", branch]);
        }
        change(directory);
        git(directory, &["add", "-A"]);
        git(
            directory,
            &["commit", "-q", "--allow-empty", "-m", "somebody's change"],
        );
        let refspec = format!("HEAD:refs/heads/{branch}");
        git(
            directory,
            &[&["push", "-q"], push, &["origin", &refspec]].concat(),
        );
    }

    pub(crate) fn somebody_pushes(&self, branch: &str, files: &[(&str, Option<&str>)]) {
        self.somebody(branch, &[], |directory| {
            for (path, content) in files {
                let path = directory.join(path);
                match content {
                    Some(content) => {
                        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                        std::fs::write(path, content).unwrap();
                    }
                    None => std::fs::remove_file(path).unwrap(),
                }
            }
        });
    }

    pub(crate) fn has_branch(&self, branch: &str) -> bool {
        !git(&self.remote(), &["branch", "--list", branch]).is_empty()
    }

    /// Of the remote.
    pub(crate) fn log(&self, branch: &str, format: &str) -> Vec<String> {
        let out = git(
            &self.remote(),
            &["log", "--reverse", &format!("--format={format}"), branch],
        );
        out.lines().map(str::to_owned).collect()
    }

    /// `mode path` of every file of the remote.
    pub(crate) fn files(&self, branch: &str) -> Vec<String> {
        let out = git(
            &self.remote(),
            &["ls-tree", "-r", "--format=%(objectmode) %(path)", branch],
        );
        out.lines().map(str::to_owned).collect()
    }

    pub(crate) fn content(&self, branch: &str, path: &str) -> String {
        git(&self.remote(), &["show", &format!("{branch}:{path}")])
    }

    pub(crate) fn tip(&self, branch: &str) -> String {
        git(&self.remote(), &["rev-parse", branch])
    }

    pub(crate) fn assert_sound(&self) {
        let found = git(
            &self.remote(),
            &["fsck", "--strict", "--full", "--no-dangling"],
        );
        assert_eq!(found, "", "git fsck");
        if self.work_dir().exists() {
            let found = git(&self.work_dir(), &["fsck", "--full", "--no-dangling"]);
            assert_eq!(found, "", "git fsck of the clone");
        }
    }
}

pub(crate) fn person(name: &str) -> Signature {
    Signature {
        name: name.to_owned(),
        email: format!("{}@example.com", name.to_lowercase().replace(' ', "-")),
    }
}

pub(crate) fn write(path: &str, content: &str) -> PathChange {
    PathChange {
        path: path.to_owned(),
        content: Some(Bytes::copy_from_slice(content.as_bytes())),
    }
}

pub(crate) fn delete(path: &str) -> PathChange {
    PathChange {
        path: path.to_owned(),
        content: None,
    }
}

pub(crate) fn plan(author: &str, message: &str, changes: &[PathChange]) -> CommitPlan {
    CommitPlan {
        author: person(author),
        message: message.to_owned(),
        changes: changes.to_vec(),
    }
}
