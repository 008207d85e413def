//! How much of the machine others take.

use std::time::Duration;

/// How long the machine is looked at.
const SAMPLE: Duration = Duration::from_secs(3);

/// The share of all processors that is in use now, of which nothing is ours; `None` where the system does not tell.
pub(crate) async fn busy() -> Option<f64> {
    let before = ticks()?;
    tokio::time::sleep(SAMPLE).await;
    let after = ticks()?;
    let (idle, all) = (after.0 - before.0, after.1 - before.1);
    (all > 0.0).then(|| 1.0 - idle / all)
}

/// Ticks of the whole machine, spent idle (waiting for disks is idle too) and in all (proc(5), `/proc/stat`).
fn ticks() -> Option<(f64, f64)> {
    let stat = std::fs::read_to_string("/proc/stat").ok()?;
    let fields: Vec<f64> = stat
        .lines()
        .next()?
        .split_whitespace()
        .skip(1)
        .filter_map(|field| field.parse().ok())
        .collect();
    // Guests are counted among user and nice already.
    let all = fields.iter().take(8).sum();
    Some((fields.get(3)? + fields.get(4)?, all))
}
