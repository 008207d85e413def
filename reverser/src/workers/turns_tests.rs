//! How many workers do Git work at once.

use std::net::{TcpListener, TcpStream};

use super::*;
use crate::git::RepoUrl;
use crate::git::testing::Bed;
use crate::workers::claim::tests::destination;
use crate::workers::fixtures::write;
use crate::workers::worker::tests::settings;

/// Takes connections, and never says a word.
struct Silent {
    listener: TcpListener,
    open: Vec<TcpStream>,
}

impl Silent {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Self {
            listener,
            open: Vec::new(),
        }
    }

    fn url(&self) -> RepoUrl {
        let address = self.listener.local_addr().unwrap();
        RepoUrl::parse(&format!("http://{address}/a.git")).unwrap()
    }

    /// Waits for so many connections that are open at once, and sees that there are no more a moment later.
    async fn has_open(&mut self, wanted: usize) {
        let mut patience = 1000;
        let mut more = 20;
        while more > 0 && patience > 0 {
            while let Ok((connection, _)) = self.listener.accept() {
                self.open.push(connection);
            }
            if self.open.len() >= wanted {
                more -= 1;
            } else {
                patience -= 1;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(self.open.len(), wanted);
    }
}

/// On these branches, of different repositories too. What to write is given to each.
fn destinations(url: &RepoUrl, branches: std::ops::Range<usize>) -> Vec<Arc<DestinationPlan>> {
    let on = |n: usize| {
        let mut plan = destination(None);
        plan.key.name = format!("{}-{n}", url.port().unwrap_or_default());
        plan.branch.branch = format!("branch-{n}");
        plan.branch.repository = url.normalised();
        plan.url = url.clone();
        Arc::new(plan)
    };
    branches.map(on).collect()
}

fn apply(workers: &Workers, destinations: &[Arc<DestinationPlan>]) {
    let by_key = destinations.iter().map(|d| (d.key.clone(), d.clone()));
    workers.apply(&Plan {
        destinations: by_key.collect(),
        ..Plan::default()
    });
    for destination in destinations {
        let queue = workers.queue(&destination.branch).unwrap();
        let change = write(destination, "one", "ours", "alice");
        queue.push(Item::Write(Box::new(change)));
    }
}

#[tokio::test]
async fn no_more_work_at_once_than_allowed_of_one_repository_and_in_all() {
    let room = tempfile::TempDir::new().unwrap();
    let (settings, _resyncs, _ends) = settings(room.path().to_owned(), None);
    let workers = Workers::new(WorkerSettings {
        max_per_repo: 2,
        max_global: 5,
        ..settings
    });
    let mut servers = [Silent::start(), Silent::start(), Silent::start()];
    let mut all = Vec::new();
    for (server, branches) in servers.iter().zip([4, 4, 4]) {
        all.extend(destinations(&server.url(), 0..branches));
    }
    // One repository alone does not take it all.
    apply(&workers, &all[..4]);
    servers[0].has_open(2).await;
    apply(&workers, &all[..8]);
    servers[1].has_open(2).await;
    apply(&workers, &all);
    servers[2].has_open(1).await;
    servers[0].has_open(2).await;
    // Whose turn ends makes room for who waits: for the same server, for the one that had less, or for itself later on.
    servers[2].open.clear();
    let [first, second, third] = &mut servers;
    third.has_open(1).await;
    first.has_open(2).await;
    second.has_open(2).await;
}

#[tokio::test]
async fn a_worker_that_has_nothing_to_do_takes_nobodys_turn() {
    let beds = [Bed::with_readme(), Bed::with_readme()];
    let room = tempfile::TempDir::new().unwrap();
    let (settings, _resyncs, _ends) = settings(room.path().to_owned(), None);
    let shutdown = settings.shutdown.clone();
    let workers = Workers::new(settings);
    assert_eq!(workers.global.available_permits(), 1);
    let mut all = Vec::new();
    for bed in &beds {
        let url = bed.options("main").url;
        let mut plan = destination(None);
        plan.key.name = url.normalised();
        plan.branch.repository = url.normalised();
        plan.url = url;
        all.push(Arc::new(plan));
    }
    apply(&workers, &all);
    for bed in &beds {
        let path = "100644 live/v1/configmaps/lab/one.yaml".to_owned();
        while !bed.files("main").contains(&path) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    // Both still live, and have their clones.
    assert_eq!(workers.crashed(), None);
    while workers.global.available_permits() == 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    shutdown.cancel();
    workers.drain().await;
}
