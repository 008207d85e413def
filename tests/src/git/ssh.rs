//! Git over SSH: the real sshd, run as the current user on a loopback port.

use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use parking_lot::Mutex;

use super::repo::GitClient;
use super::{Repo, create_repo};
use crate::net::free_port;
use crate::process::{MissingTool, Process, Signal, Spec, find_program, mark, temp_dir};

const STARTS_WITHIN: Duration = Duration::from_secs(20);

/// How to start an sshd.
#[derive(Clone, Debug, Default)]
pub struct SshOptions {
    /// Further lines for `sshd_config`.
    pub config: String,
}

/// A Git server over SSH on 127.0.0.1, ended when dropped.
pub struct SshGitServer {
    sshd: Mutex<Process>,
    port: u16,
    user: String,
    directory: tempfile::TempDir,
}

// === impl SshGitServer ===

impl SshGitServer {
    /// Starts it and waits until it takes connections.
    ///
    /// # Errors
    /// [`MissingTool`] without sshd or ssh-keygen; else if it does not start, with the end of its log.
    pub(super) fn start(options: SshOptions) -> Result<Self> {
        let SshOptions { config: extra } = options;
        let sshd = find_sshd()?;
        let directory = temp_dir("git-ssh")?;
        let path = directory.path();
        let user = current_user()?;
        std::fs::create_dir(path.join("repositories"))
            .context("make the repositories' directory")?;
        for key in ["host_key", "client_key"] {
            keygen(&path.join(key))?;
        }
        std::fs::copy(path.join("client_key.pub"), path.join("authorized_keys"))
            .context("authorise the client")?;
        let port = free_port();
        let shown = path.display();
        // sshd gives sessions a PATH of its own, in which git need not be.
        let search = std::env::var("PATH").unwrap_or_default();
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {shown}/host_key\nAuthorizedKeysFile {shown}/authorized_keys\n\
             PidFile none\nUsePAM no\nStrictModes no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
             PermitRootLogin yes\nAcceptEnv GIT_PROTOCOL\nSetEnv \"{}\" \"PATH={search}\"\nLogLevel VERBOSE\n\
             MaxStartups 200\nMaxSessions 200\n{extra}\n",
            mark()
        );
        let config_path = path.join("sshd_config");
        std::fs::write(&config_path, config).context("write sshd_config")?;
        // Root's sshd insists on this directory, which packages make at boot; others need none.
        if user == "root" {
            std::fs::create_dir_all("/run/sshd").context("make /run/sshd")?;
        }
        let process = Spec::new("sshd", sshd, path)
            .args(["-D", "-e", "-f"])
            .arg(&config_path)
            .spawn()?;
        let server = Self {
            sshd: Mutex::new(process),
            port,
            user,
            directory,
        };
        server.wait_ready()?;
        Ok(server)
    }

    fn wait_ready(&self) -> Result<()> {
        let start = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_err() {
            self.sshd.lock().must_run()?;
            if start.elapsed() > STARTS_WITHIN {
                bail!(
                    "sshd does not listen after {STARTS_WITHIN:?}; its log ends with:\n{}",
                    self.sshd.lock().log_tail()
                );
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// A repository's URL, `ssh://user@127.0.0.1:port/path`.
    #[must_use]
    pub fn url(&self, repo: &str) -> String {
        let path = self.root().join(format!("{repo}.git"));
        format!(
            "ssh://{}@127.0.0.1:{}{}",
            self.user,
            self.port,
            path.display()
        )
    }

    /// A `known_hosts` line for its host key.
    ///
    /// # Panics
    /// If the key can't be read.
    #[must_use]
    pub fn known_hosts(&self) -> String {
        let key = self.read("host_key.pub");
        let mut parts = key.split_whitespace();
        let (kind, key) = (
            parts.next().unwrap_or_default(),
            parts.next().unwrap_or_default(),
        );
        format!("[127.0.0.1]:{} {kind} {key}\n", self.port)
    }

    /// The private key that it lets in, in OpenSSH's format.
    ///
    /// # Panics
    /// If the key can't be read.
    #[must_use]
    pub fn private_key_pem(&self) -> String {
        self.read("client_key")
    }

    /// A git command line that knows the host and has the key.
    ///
    /// # Panics
    /// If its files can't be written.
    #[must_use]
    pub fn git_client(&self) -> GitClient {
        let known_hosts = self.directory.path().join("known_hosts");
        if let Err(error) = std::fs::write(&known_hosts, self.known_hosts()) {
            panic!("known_hosts can't be written: {error}");
        }
        let ssh = format!(
            "ssh -F /dev/null -o BatchMode=yes -o IdentitiesOnly=yes -o StrictHostKeyChecking=yes -o UserKnownHostsFile={} -i {}",
            known_hosts.display(),
            self.directory.path().join("client_key").display()
        );
        GitClient {
            ssh_command: Some(ssh),
            ..GitClient::default()
        }
    }

    /// Makes an empty bare repository.
    ///
    /// # Panics
    /// If git fails.
    #[must_use]
    pub fn create_repo(&self, name: &str) -> Repo {
        create_repo(&self.root(), name, self.url(name)).unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// Stops it from answering (SIGSTOP): new connections hang, until [`SshGitServer::resume`].
    pub fn pause(&self) {
        self.sshd.lock().signal(Signal::STOP);
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.sshd.lock().signal(Signal::CONT);
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.sshd.lock().pid()
    }

    /// Its log so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.sshd.lock().log()
    }

    fn root(&self) -> PathBuf {
        self.directory.path().join("repositories")
    }

    fn read(&self, name: &str) -> String {
        let path = self.directory.path().join(name);
        std::fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("{} can't be read: {error}", path.display()))
    }
}

/// sshd re-executes itself and wants an absolute path; it is seldom in a user's PATH.
fn find_sshd() -> Result<PathBuf> {
    let elsewhere = ["/usr/sbin/sshd", "/usr/local/sbin/sshd", "/sbin/sshd"].map(PathBuf::from);
    find_program("sshd".as_ref())
        .or_else(|| elsewhere.into_iter().find(|path| path.is_file()))
        .ok_or_else(|| {
            MissingTool {
                tool: "sshd",
                package: "openssh-server",
            }
            .into()
        })
}

fn keygen(path: &Path) -> Result<()> {
    if find_program("ssh-keygen".as_ref()).is_none() {
        return Err(MissingTool {
            tool: "ssh-keygen",
            package: "openssh-client",
        }
        .into());
    }
    let output = Command::new("ssh-keygen")
        .args([
            "-q",
            "-t",
            "ed25519",
            "-N",
            "",
            "-C",
            "gitops-reverser-test",
            "-f",
        ])
        .arg(path)
        .output()
        .context("start ssh-keygen")?;
    if !output.status.success() {
        bail!("ssh-keygen: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

fn current_user() -> Result<String> {
    let output = Command::new("id").arg("-un").output().context("start id")?;
    Ok(String::from_utf8(output.stdout)
        .context("the user's name is no text")?
        .trim()
        .to_owned())
}
