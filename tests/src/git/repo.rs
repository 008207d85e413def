//! A bare repository on a server: looked into, and written to as somebody else would.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::cli::{git, output, output_of};
use super::log::{self, Commit};
use super::{DEFAULT_BRANCH, Secret};

/// How often a second writer tries again when a push came in between.
const ATTEMPTS: u32 = 50;

/// A bare repository. All reading goes to the repository itself, past the server and its faults.
#[derive(Clone, Debug)]
pub struct Repo {
    path: PathBuf,
    url: String,
}

/// What one path of a tree is to be.
enum Edit<'a> {
    File(&'a [u8]),
    Symlink(&'a str),
    Gone,
}

// === impl Repo ===

impl Repo {
    pub(super) fn init(path: &Path, url: String) -> Result<Self> {
        std::fs::create_dir_all(path).with_context(|| format!("make {}", path.display()))?;
        let repo = Self {
            path: path.to_owned(),
            url,
        };
        let head = format!("--initial-branch={DEFAULT_BRANCH}");
        repo.git(&["init", "--quiet", "--bare", &head, "."])?;
        for (key, value) in [
            ("http.receivepack", "true"),
            // A reflog tells every value that a ref had, forced pushes and deletions included.
            ("core.logAllRefUpdates", "always"),
            // Nothing may run on in the background after a push.
            ("gc.auto", "0"),
            ("receive.autogc", "false"),
            ("maintenance.auto", "false"),
        ] {
            repo.git(&["config", key, value])?;
        }
        Ok(repo)
    }

    /// Where it is on disk.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its URL on the server, without credentials.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Runs git in the repository and returns its standard output.
    ///
    /// # Errors
    /// If git fails, with what it said.
    pub fn git(&self, args: &[&str]) -> Result<String> {
        let bytes = output(git(&self.path).args(args))?;
        Ok(String::from_utf8_lossy(&bytes)
            .trim_end_matches('\n')
            .to_owned())
    }

    /// The tip of the default branch; `None` before the first commit.
    ///
    /// # Panics
    /// If git fails.
    #[must_use]
    pub fn head(&self) -> Option<String> {
        self.tip(DEFAULT_BRANCH)
    }

    /// The tip of a branch, if there is one.
    ///
    /// # Panics
    /// If git fails.
    #[must_use]
    pub fn tip(&self, branch: &str) -> Option<String> {
        let reference = format!("refs/heads/{branch}");
        let line = must(self.git(&[
            "for-each-ref",
            "--format=%(objectname) %(refname)",
            &reference,
        ]));
        // The argument is a prefix: refs/heads/a shows refs/heads/a/b as well.
        line.lines()
            .filter_map(|line| line.split_once(' '))
            .find_map(|(tip, name)| (name == reference).then(|| tip.to_owned()))
    }

    /// All commits of the default branch, **oldest first**. Empty before the first commit.
    ///
    /// # Panics
    /// If git fails.
    #[must_use]
    pub fn log(&self) -> Vec<Commit> {
        self.log_of(DEFAULT_BRANCH)
    }

    /// All commits of a branch, oldest first. Empty if there is no such branch.
    ///
    /// # Panics
    /// If git fails.
    #[must_use]
    pub fn log_of(&self, branch: &str) -> Vec<Commit> {
        self.tip(branch)
            .map_or_else(Vec::new, |tip| must(log::read(&self.path, &tip)))
    }

    /// Every value that the default branch has had, oldest first: a push that was not fast-forward shows here.
    ///
    /// # Panics
    /// If git fails.
    #[must_use]
    pub fn reflog(&self) -> Vec<String> {
        let reference = format!("refs/heads/{DEFAULT_BRANCH}");
        if self.head().is_none() {
            return Vec::new();
        }
        let lines = must(self.git(&["reflog", "show", "--format=%H", &reference]));
        lines.lines().rev().map(str::to_owned).collect()
    }

    /// A file's content at the tip of the default branch. For a symbolic link, where it points.
    ///
    /// # Panics
    /// If git fails.
    #[must_use]
    pub fn file(&self, path: &str) -> Option<Vec<u8>> {
        let tip = self.head()?;
        let there = self.files_at(&tip).iter().any(|file| file == path);
        there.then(|| self.file_at(&tip, path))
    }

    /// The paths of all files at the tip of the default branch, sorted by their bytes.
    ///
    /// # Panics
    /// If git fails.
    #[must_use]
    pub fn files(&self) -> Vec<String> {
        self.head().map_or_else(Vec::new, |tip| self.files_at(&tip))
    }

    /// All files at the tip of the default branch with their contents.
    ///
    /// # Panics
    /// If git fails.
    #[must_use]
    pub fn contents(&self) -> BTreeMap<String, Vec<u8>> {
        let Some(tip) = self.head() else {
            return BTreeMap::new();
        };
        self.files_at(&tip)
            .into_iter()
            .map(|path| {
                let content = self.file_at(&tip, &path);
                (path, content)
            })
            .collect()
    }

    // A branch moves between two calls of git; a commit does not.

    fn files_at(&self, commit: &str) -> Vec<String> {
        let mut command = git(&self.path);
        command.args(["ls-tree", "-r", "-z", "--name-only", commit]);
        fields(&must(output(&mut command)))
    }

    fn file_at(&self, commit: &str, path: &str) -> Vec<u8> {
        must(output(git(&self.path).args([
            "cat-file",
            "blob",
            &format!("{commit}:{path}"),
        ])))
    }

    /// Checks every object and ref (`git fsck --strict`).
    ///
    /// # Errors
    /// With what git found.
    pub fn fsck(&self) -> Result<()> {
        self.git(&["fsck", "--strict", "--full", "--no-dangling"])
            .map(drop)
    }

    /// A second writer commits a file to the default branch, on whatever its tip is, and returns the commit.
    ///
    /// # Panics
    /// If git fails.
    pub fn commit_as_outsider(&self, path: &str, content: impl AsRef<[u8]>) -> String {
        must(self.outsider(
            &format!("Write {path} by hand"),
            &[(path, Edit::File(content.as_ref()))],
        ))
    }

    /// A second writer removes a file from the default branch, and returns the commit.
    ///
    /// # Panics
    /// If git fails.
    pub fn remove_as_outsider(&self, path: &str) -> String {
        must(self.outsider(&format!("Remove {path} by hand"), &[(path, Edit::Gone)]))
    }

    /// A second writer plants a symbolic link on the default branch, and returns the commit.
    ///
    /// # Panics
    /// If git fails.
    pub fn plant_symlink(&self, path: &str, target: &str) -> String {
        must(self.outsider(
            &format!("Link {path} by hand"),
            &[(path, Edit::Symlink(target))],
        ))
    }

    /// Runs git in the repository with something on its standard input, and returns its standard output.
    ///
    /// # Errors
    /// If git fails, with what it said.
    pub fn git_fed(&self, args: &[&str], input: &[u8]) -> Result<String> {
        let bytes = output_of(git(&self.path).args(args), input)?;
        Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
    }

    /// A second writer puts a tree at a path of the default branch, whatever the tree holds, and returns the commit. Nobody else may write
    /// meanwhile.
    ///
    /// # Panics
    /// If git fails, or there is no commit yet.
    pub fn graft_as_outsider(&self, path: &str, tree: &str) -> String {
        let parent = self.head().expect("a commit");
        let mut graft = tree.to_owned();
        let mut rest = path;
        loop {
            let (folder, name) = rest.rsplit_once('/').unwrap_or(("", rest));
            let listed = self.git(&["ls-tree", &format!("{parent}:{folder}")]);
            let mut entries: Vec<String> = listed
                .unwrap_or_default()
                .lines()
                .map(str::to_owned)
                .collect();
            entries.retain(|entry| entry.split('\t').next_back() != Some(name));
            entries.push(format!("040000 tree {graft}\t{name}"));
            let entries = format!("{}\n", entries.join("\n"));
            graft = must(self.git_fed(&["mktree"], entries.as_bytes()));
            if folder.is_empty() {
                break;
            }
            rest = folder;
        }
        let identity = [
            "-c",
            "user.name=Outsider",
            "-c",
            "user.email=outsider@example.com",
        ];
        let commit = ["commit-tree", "-m", "Graft by hand", "-p", &parent, &graft];
        let commit = must(self.git(&[&identity[..], &commit[..]].concat()));
        let reference = format!("refs/heads/{DEFAULT_BRANCH}");
        must(self.git(&["update-ref", &reference, &commit, &parent]));
        commit
    }

    /// Installs a server-side hook (`pre-receive`, `update`, …), a script with its `#!` line.
    ///
    /// # Panics
    /// If it can't be written.
    pub fn install_hook(&self, name: &str, script: &str) {
        let hooks = self.path.join("hooks");
        let hook = hooks.join(name);
        let written = std::fs::create_dir_all(&hooks)
            .and_then(|()| std::fs::write(&hook, script))
            .and_then(|()| std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o755)));
        must(written.with_context(|| format!("install hook {name}")));
    }

    /// Removes a hook, if it is there.
    pub fn remove_hook(&self, name: &str) {
        let _ = std::fs::remove_file(self.path.join("hooks").join(name));
    }

    /// Takes away what a server's process that was killed has left behind, as whoever runs a server has to: a lock that is still
    /// there after a second.
    pub fn remove_stale_locks(&self) {
        for lock in ["HEAD.lock", "packed-refs.lock", "refs/heads/main.lock"] {
            let lock = self.path.join(lock);
            for _ in 0..20 {
                if lock.exists() {
                    std::thread::sleep(Duration::from_millis(50));
                }
            }
            let _ = std::fs::remove_file(lock);
        }
    }

    /// The commit is built in an index of its own and the ref moves by compare-and-swap, so that it races with pushes as a
    /// real second writer does and never overwrites one.
    fn outsider(&self, subject: &str, edits: &[(&str, Edit<'_>)]) -> Result<String> {
        let index = tempfile::tempdir_in(&self.path).context("make a directory for the index")?;
        let git = || {
            let mut git = git(&self.path);
            git.env("GIT_INDEX_FILE", index.path().join("index"));
            for role in ["AUTHOR", "COMMITTER"] {
                git.env(format!("GIT_{role}_NAME"), "Outsider")
                    .env(format!("GIT_{role}_EMAIL"), "outsider@example.com");
            }
            git
        };
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).trim().to_owned();
        for _ in 0..ATTEMPTS {
            let parent = self.head();
            match &parent {
                Some(parent) => output(git().args(["read-tree", parent]))?,
                None => output(git().args(["read-tree", "--empty"]))?,
            };
            for (path, edit) in edits {
                let (mode, content) = match edit {
                    Edit::File(content) => ("100644", *content),
                    Edit::Symlink(target) => ("120000", target.as_bytes()),
                    Edit::Gone => {
                        let entry = format!("0 {}\t{path}\0", "0".repeat(40));
                        output_of(
                            git().args(["update-index", "-z", "--index-info"]),
                            entry.as_bytes(),
                        )?;
                        continue;
                    }
                };
                let blob = text(output_of(
                    git().args(["hash-object", "-w", "--stdin"]),
                    content,
                )?);
                let entry = format!("{mode},{blob},{path}");
                output(git().args(["update-index", "--add", "--replace", "--cacheinfo", &entry]))?;
            }
            let tree = text(output(git().arg("write-tree"))?);
            let mut commit = git();
            commit.args(["commit-tree", "-m", subject, &tree]);
            if let Some(parent) = &parent {
                commit.args(["-p", parent]);
            }
            let commit = text(output(&mut commit)?);
            let reference = format!("refs/heads/{DEFAULT_BRANCH}");
            let old = parent.unwrap_or_else(|| "0".repeat(commit.len()));
            if output(git().args(["update-ref", "-m", subject, &reference, &commit, &old])).is_ok()
            {
                return Ok(commit);
            }
        }
        bail!("the branch moved {ATTEMPTS} times in a row while a second writer tried to commit");
    }

    /// Clones with the git command line as a user would, and returns what git said on failure.
    ///
    /// # Errors
    /// If git refuses, with its message.
    pub fn clone_to(&self, directory: &Path, client: &GitClient) -> Result<()> {
        let mut git = client.git(Path::new("."));
        output(
            git.arg("clone")
                .arg("--quiet")
                .arg(&self.url)
                .arg(directory),
        )
        .map(drop)
    }
}

/// How a git command line authenticates.
#[derive(Clone, Debug, Default)]
pub struct GitClient {
    /// PEM of the authority that signs the server's certificate.
    pub ca_file: Option<PathBuf>,
    /// User and password for HTTP basic authentication.
    pub basic: Option<(String, Secret)>,
    /// The value of `GIT_SSH_COMMAND`.
    pub ssh_command: Option<String>,
}

// === impl GitClient ===

impl GitClient {
    /// A `git` command that authenticates this way.
    #[must_use]
    pub fn git(&self, directory: &Path) -> std::process::Command {
        let mut git = git(directory);
        if let Some(ca_file) = &self.ca_file {
            git.env("GIT_SSL_CAINFO", ca_file);
        }
        if let Some((user, password)) = &self.basic {
            // Not in the URL, where it would show in messages and in the clone's configuration.
            git.env("GITOPS_REVERSER_TEST_USER", user).env("GITOPS_REVERSER_TEST_PASSWORD", password.reveal()).args([
                "-c",
                "credential.helper=",
                "-c",
                "credential.helper=!f() { test \"$1\" = get && printf 'username=%s\\npassword=%s\\n' \
                 \"$GITOPS_REVERSER_TEST_USER\" \"$GITOPS_REVERSER_TEST_PASSWORD\"; }; f",
            ]);
        }
        if let Some(ssh) = &self.ssh_command {
            git.env("GIT_SSH_COMMAND", ssh);
        }
        for role in ["AUTHOR", "COMMITTER"] {
            git.env(format!("GIT_{role}_NAME"), "Client")
                .env(format!("GIT_{role}_EMAIL"), "client@example.com");
        }
        git
    }

    /// Runs git in a directory and returns its standard output.
    ///
    /// # Errors
    /// If git fails, with what it said.
    pub fn run(&self, directory: &Path, args: &[&str]) -> Result<String> {
        let bytes = output(self.git(directory).args(args))?;
        Ok(String::from_utf8_lossy(&bytes)
            .trim_end_matches('\n')
            .to_owned())
    }
}

/// NUL-terminated fields.
pub(super) fn fields(bytes: &[u8]) -> Vec<String> {
    let mut fields: Vec<String> = bytes
        .split(|byte| *byte == 0)
        .map(|field| String::from_utf8_lossy(field).into_owned())
        .collect();
    fields.pop();
    fields
}

fn must<T>(result: Result<T>) -> T {
    result.unwrap_or_else(|error| panic!("{error:#}"))
}
