//! The same repository on each kind of server.

use super::*;

/// A seeded repository, and how to get at it.
pub(crate) struct Remote {
    pub(crate) repo: Repo,
    pub(crate) credentials: Credentials,
    /// Of the same kind, and refused.
    pub(crate) wrong: Credentials,
    server: Server,
}

enum Server {
    Http(GitServer),
    Ssh(SshGitServer),
}

impl Remote {
    pub(crate) fn http() -> Self {
        let server = GitServer::http(HttpOptions::basic("bot", "s3cret")).unwrap();
        let repo = server.create_seeded_repo("shop");
        let with = |password| {
            let pairs = [("username", "bot"), ("password", password)];
            secret(repo.url(), &pairs).unwrap()
        };
        Self {
            credentials: with("s3cret"),
            wrong: with("wr0ng"),
            repo,
            server: Server::Http(server),
        }
    }

    pub(crate) fn ssh() -> Self {
        let server = GitServer::ssh(SshOptions::default()).unwrap();
        let other = GitServer::ssh(SshOptions::default()).unwrap();
        let repo = server.create_repo("shop");
        repo.commit_as_outsider("README.md", "shop\n");
        let with = |key| ssh_secret(key, repo.url(), &server.known_hosts()).unwrap();
        Self {
            credentials: with(&server),
            wrong: with(&other),
            repo,
            server: Server::Ssh(server),
        }
    }

    pub(crate) fn open(&self, work_dir: &Path) -> Engine {
        open(work_dir, self.repo.url(), self.credentials.clone()).unwrap()
    }

    /// It takes connections, and does not answer, until [`Self::resume`].
    pub(crate) fn pause(&self) {
        match &self.server {
            Server::Http(server) => server.set_fault(Fault::Hang),
            Server::Ssh(server) => server.pause(),
        }
    }

    pub(crate) fn resume(&self) {
        match &self.server {
            Server::Http(server) => server.set_fault(Fault::None),
            Server::Ssh(server) => server.resume(),
        }
    }
}

/// A test for each kind of server, named after what it is to show.
macro_rules! on_each {
    ($($name:ident),* $(,)?) => {
        mod over_http {
            $(#[test] fn $name() { super::$name(&crate::remotes::Remote::http()); })*
        }
        mod over_ssh {
            $(#[test] fn $name() { super::$name(&crate::remotes::Remote::ssh()); })*
        }
    };
}
pub(crate) use on_each;
