//! What the same work takes at least: a paged list, `git fast-import`, `git push`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use kube::api::ListParams;
use tests::process::temp_dir;

use crate::lab::Lab;

/// What `kubectl get` and client-go ask for at a time.
const PAGE: u32 = 500;

/// Seconds of the same machine a moment later.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Limit {
    pub(crate) list: Duration,
    pub(crate) import: Duration,
    pub(crate) push: Duration,
}

// === impl Limit ===

impl Limit {
    pub(crate) fn total(&self) -> Duration {
        self.list + self.import + self.push
    }
}

/// Lists the ConfigMaps and makes one commit of these files in an empty repository on the same server. What feeds fast-import is
/// written beforehand and not measured.
pub(crate) async fn measure(
    lab: &Lab<'_>,
    name: &str,
    files: &BTreeMap<&str, &[u8]>,
) -> Result<Limit> {
    let list = list(lab).await?;

    let directory = temp_dir("limit")?;
    let stream = directory.path().join("stream");
    write_stream(&stream, files).context("write what fast-import reads")?;
    let remote = lab.server.create_repo(&format!("{name}-limit"));
    let git = lab.server.git_client();
    git.run(
        directory.path(),
        &["init", "--quiet", "--bare", "clone.git"],
    )?;
    let clone = directory.path().join("clone.git");
    git.run(&clone, &["config", "gc.auto", "0"])?;

    let start = Instant::now();
    let status = git
        .git(&clone)
        .args(["fast-import", "--quiet"])
        .stdin(File::open(&stream)?)
        .stdout(Stdio::null())
        .status()
        .context("start git fast-import")?;
    if !status.success() {
        bail!("git fast-import: {status}");
    }
    let import = start.elapsed();

    let start = Instant::now();
    git.run(&clone, &["push", "--quiet", remote.url(), "main"])?;
    let push = start.elapsed();
    if remote.files().len() != files.len() {
        bail!(
            "{} files were pushed instead of {}",
            remote.files().len(),
            files.len()
        );
    }
    Ok(Limit { list, import, push })
}

/// All ConfigMaps, page by page.
pub(crate) async fn list(lab: &Lab<'_>) -> Result<Duration> {
    // A client of its own: it connects as `kubectl` would have to.
    let maps = lab.maps(lab.plane.client());
    let start = Instant::now();
    let mut parameters = ListParams::default().limit(PAGE);
    loop {
        let page = maps.list(&parameters).await.context("list ConfigMaps")?;
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => parameters = parameters.continue_token(&token),
            None => return Ok(start.elapsed()),
        }
    }
}

fn write_stream(path: &std::path::Path, files: &BTreeMap<&str, &[u8]>) -> std::io::Result<()> {
    let mut stream = BufWriter::new(File::create(path)?);
    for (mark, content) in (1..).zip(files.values()) {
        write!(stream, "blob\nmark :{mark}\ndata {}\n", content.len())?;
        stream.write_all(content)?;
        writeln!(stream)?;
    }
    let message = "Seed\n";
    writeln!(
        stream,
        "commit refs/heads/main\ncommitter Bench <bench@example.com> 1700000000 +0000\ndata {}\n{message}",
        message.len()
    )?;
    for (mark, path) in (1..).zip(files.keys()) {
        writeln!(stream, "M 100644 :{mark} {path}")?;
    }
    stream.flush()
}
