//! The whole path at work: a control plane, the chart on it, the pod's two processes, a Git server, three users.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use e2e::chart::{Release, Rendered};
use e2e::cluster::Cluster;
use e2e::install::{Install, Ports, programs, render};
use e2e::scenario::{BRANCH, FOLDER, Repository, Scenario};
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Client;
use kube::api::{Api, DeleteParams};
use tests::git::{GitServer, HttpOptions, Repo};
use tokio::signal::unix::{SignalKind, signal};

const USERNAME: &str = "demo";
const PASSWORD: &str = "demo";

/// Shows the live cluster in Git, end to end: starts a control plane (or takes the one of KUBECONFIG), installs the chart, runs its
/// pod's two processes and a Git server, lets three users work, and shows the history they made
#[derive(Debug, Parser)]
struct Args {
    /// End when it is done, with success only if the history is what it should be
    #[arg(long)]
    oneshot: bool,

    /// The cluster to use [default: one of our own, which ends with the demo]
    #[arg(long, env = "KUBECONFIG")]
    kubeconfig: Option<PathBuf>,

    /// The namespace to work in; made by the demo
    #[arg(long, default_value = "lab")]
    namespace: String,

    /// How the apiserver reaches this machine; on a cluster that is not of this machine, the address of this one
    #[arg(long, default_value = "127.0.0.1")]
    webhook_host: String,
}

/// What has been started so far.
struct Demo {
    args: Args,
    cluster: Cluster,
    git: GitServer,
    repo: Repo,
    scenario: Scenario,
    install: Option<Install>,
    leftovers: Leftovers,
}

/// What has to be taken away from a cluster that is not ours.
#[derive(Default)]
struct Leftovers {
    scenario: bool,
    rendered: Option<Rendered>,
    // Those that were not there before.
    crds: Vec<String>,
    namespace: Option<String>,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> Result<()> {
    // Before minutes are spent on a control plane.
    programs()?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let interrupted = async {
        tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
    };
    tokio::pin!(interrupted);
    let oneshot = args.oneshot;
    let mut demo = tokio::select! {
        demo = Demo::new(args) => demo?,
        () = &mut interrupted => return interrupted_early(oneshot),
    };
    let outcome = tokio::select! {
        outcome = demo.run() => outcome,
        () = &mut interrupted => interrupted_early(oneshot),
    };
    if let (Err(_), Some(install)) = (&outcome, &demo.install) {
        eprintln!("{}", install.pod.log_tails());
    }
    let ended = demo.end().await;
    outcome.and(ended)?;
    if oneshot {
        println!("\nThe history is what it should be.");
    }
    Ok(())
}

/// Ctrl-C is how the demo ends, but not how one shot of it succeeds.
fn interrupted_early(oneshot: bool) -> Result<()> {
    ensure!(!oneshot, "interrupted");
    Ok(())
}

// === impl Demo ===

impl Demo {
    async fn new(args: Args) -> Result<Self> {
        let start = Instant::now();
        let cluster = match args
            .kubeconfig
            .clone()
            .filter(|path| !path.as_os_str().is_empty())
        {
            Some(path) => Cluster::at(path).await?,
            None => {
                step(
                    "Starting etcd, kube-apiserver and kube-controller-manager (built first, once: minutes)",
                );
                Cluster::start().await?
            }
        };
        let git = GitServer::https(HttpOptions::basic(USERNAME, PASSWORD))?;
        let repo = git.create_seeded_repo("cluster");
        let repository = Repository {
            url: repo.url().to_owned(),
            username: USERNAME.to_owned(),
            password: PASSWORD.to_owned(),
            ca: git.ca_pem().to_owned(),
        };
        let scenario = Scenario::new(&args.namespace, &repository)?;
        done(
            start,
            &format!(
                "cluster {}, repository {}",
                cluster.config().cluster_url,
                repo.url()
            ),
        );
        Ok(Self {
            args,
            cluster,
            git,
            repo,
            scenario,
            install: None,
            leftovers: Leftovers::default(),
        })
    }

    /// Ends only in one shot, or when something is wrong.
    async fn run(&mut self) -> Result<()> {
        self.install().await?;
        self.prepare().await?;
        self.act().await?;
        self.show()?;
        let checked = self.scenario.check(&self.repo);
        if self.args.oneshot {
            return checked;
        }
        if let Err(error) = checked {
            println!("\nThis is not what it should be. {error:#}");
        }
        self.tell_how_to_look();
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            if let Some(install) = &mut self.install {
                install.pod.must_run()?;
            }
        }
    }

    async fn install(&mut self) -> Result<()> {
        let start = Instant::now();
        step("Installing the chart and starting its pod's two containers as processes");
        // Beside a real installation, where there is one.
        let name = if self.cluster.is_ours() {
            "gitops-reverser"
        } else {
            "gitops-reverser-demo"
        };
        let release = Release {
            name: name.to_owned(),
            namespace: name.to_owned(),
            values: serde_json::json!({
                "reverser": { "logFormat": "text" },
                "webhook": { "logFormat": "text" },
            }),
        };
        self.leftovers.note(&self.cluster.client()?, name).await?;
        let ports = Ports::like_in_the_chart();
        let rendered = render(&self.cluster, release, ports, &self.args.webhook_host).await?;
        self.leftovers.rendered = Some(rendered.clone());
        let install = Install::start(&self.cluster, rendered, ports).await?;
        done(
            start,
            &format!(
                "{} objects applied, both processes ready",
                install.rendered.objects().len()
            ),
        );
        self.install = Some(install);
        Ok(())
    }

    async fn prepare(&mut self) -> Result<()> {
        let start = Instant::now();
        let client = self.cluster.client()?;
        let namespace = &self.args.namespace;
        step(
            "Telling it what goes where: GitRepoConfig, GitDestination, WatchRule, ClusterWatchRule",
        );
        let taken = Api::<Namespace>::all(client.clone())
            .get_opt(namespace)
            .await?;
        ensure!(
            taken.is_none(),
            "namespace {namespace} exists already: choose another with --namespace"
        );
        self.leftovers.scenario = true;
        self.scenario.prepare(&client).await?;
        self.scenario
            .wait_ready(&client, Duration::from_secs(60))
            .await?;
        done(start, "all four are Ready");
        Ok(())
    }

    async fn act(&mut self) -> Result<()> {
        step("Two people and a service account go to work");
        for (number, act) in self.scenario.acts().iter().enumerate() {
            let start = Instant::now();
            act.perform(&self.cluster).await?;
            let within = Duration::from_secs(60);
            let commit = self
                .scenario
                .wait_committed(&self.repo, number + 1, within)
                .await
                .with_context(|| act.describe())?;
            done(
                start,
                &format!("{} → commit {}", act.describe(), short(&commit.hash)),
            );
        }
        Ok(())
    }

    fn show(&self) -> Result<()> {
        step(&format!("git log --reverse {BRANCH}"));
        let format =
            "--format=%h  %an <%ae>%n         %s%n%w(0,13,13)%(trailers:only=true,unfold=true)";
        println!("{}", self.repo.git(&["log", "--reverse", format, BRANCH])?);
        let path = format!(
            "{FOLDER}/v1/configmaps/{}/app-config.yaml",
            self.args.namespace
        );
        step(&format!("git show {BRANCH}:{path}"));
        println!("{}", self.repo.git(&["show", &format!("{BRANCH}:{path}")])?);
        Ok(())
    }

    fn tell_how_to_look(&self) {
        let Some(install) = &self.install else {
            return;
        };
        let client = self.git.git_client();
        let ca = client.ca_file.unwrap_or_default();
        let url = self
            .repo
            .url()
            .replace("://", &format!("://{USERNAME}:{PASSWORD}@"));
        let logs = install.pod.logs();
        let logs: Vec<_> = logs.iter().map(|log| log.display().to_string()).collect();
        step("It stays up until Ctrl-C. In another terminal:");
        println!(
            "\
export KUBECONFIG={kubeconfig}
kubectl get gitrepoconfigs,gitdestinations,watchrules,clusterwatchrules -A
kubectl -n {namespace} edit configmap app-config --as=alice@example.com
GIT_SSL_CAINFO={ca} git clone {url}
grpcurl -plaintext 127.0.0.1:{introspection} list
grpcurl -plaintext 127.0.0.1:{introspection} gitopsreverser.v1.Introspection/GetStatus
curl -s 127.0.0.1:{metrics}/metrics
tail -f {logs}

Without kubectl or grpcurl: cargo run -q --bin tool -- kubectl …",
            kubeconfig = self.cluster.kubeconfig_path().display(),
            namespace = self.args.namespace,
            ca = ca.display(),
            introspection = install.ports.introspection,
            metrics = install.ports.metrics,
            logs = logs.join(" "),
        );
    }

    /// Ends the processes as the kubelet would, and leaves a cluster that is not ours as it was.
    async fn end(mut self) -> Result<()> {
        println!();
        let stopped = match self.install.take() {
            Some(install) => install.pod.stop().await,
            None => Ok(()),
        };
        if self.cluster.is_ours() {
            return stopped;
        }
        step("Taking everything out of the cluster again");
        let client = self.cluster.client()?;
        if self.leftovers.scenario {
            self.scenario.delete(&client).await?;
        }
        self.leftovers.delete(&client).await?;
        stopped
    }
}

// === impl Leftovers ===

impl Leftovers {
    /// Call it before anything is applied.
    async fn note(&mut self, client: &Client, namespace: &str) -> Result<()> {
        let crds = Api::<CustomResourceDefinition>::all(client.clone());
        for kind in [
            "clusterwatchrules",
            "gitdestinations",
            "gitrepoconfigs",
            "watchrules",
        ] {
            let name = format!("{kind}.configbutler.ai");
            if crds.get_metadata_opt(&name).await?.is_none() {
                self.crds.push(name);
            }
        }
        let namespaces = Api::<Namespace>::all(client.clone());
        if namespaces.get_opt(namespace).await?.is_none() {
            self.namespace = Some(namespace.to_owned());
        }
        Ok(())
    }

    async fn delete(&self, client: &Client) -> Result<()> {
        if let Some(rendered) = &self.rendered {
            rendered.delete(client).await?;
        }
        let crds = Api::<CustomResourceDefinition>::all(client.clone());
        for name in &self.crds {
            if crds.get_metadata_opt(name).await?.is_some() {
                crds.delete(name, &DeleteParams::default()).await?;
            }
        }
        let namespaces = Api::<Namespace>::all(client.clone());
        if let Some(name) = &self.namespace
            && namespaces.get_opt(name).await?.is_some()
        {
            namespaces.delete(name, &DeleteParams::default()).await?;
        }
        Ok(())
    }
}

fn step(title: &str) {
    println!("\n▸ {title}");
}

fn done(start: Instant, what: &str) {
    println!("  {:>5.1} s  {what}", start.elapsed().as_secs_f64());
}

fn short(hash: &str) -> &str {
    hash.get(..8).unwrap_or(hash)
}
