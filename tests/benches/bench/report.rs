//! Figures as tables.

use std::fmt::Write as _;
use std::time::Duration;

use crate::commits::{Cost, Shape};
use crate::keep::Kept;
use crate::lag::Outcome;
use crate::seed::{Phases, Round};

/// Rows of a Markdown table.
pub(crate) struct Table {
    pub(crate) text: String,
}

// === impl Table ===

impl Table {
    pub(crate) fn new(title: &str, columns: &[String]) -> Self {
        let text = format!(
            "\n| {title} | {} |\n| --- |{}\n",
            columns.join(" | "),
            " ---: |".repeat(columns.len())
        );
        Self { text }
    }

    pub(crate) fn row(&mut self, name: &str, cells: impl IntoIterator<Item = String>) {
        let cells: Vec<String> = cells.into_iter().collect();
        let _ = writeln!(self.text, "| {name} | {} |", cells.join(" | "));
    }
}

/// The seed, a column for each round and one for the middle of all.
pub(crate) fn seed(title: &str, rounds: &[Round]) -> String {
    let mut columns: Vec<String> = (1..=rounds.len()).map(|n| format!("round {n}")).collect();
    columns.push("median".to_owned());
    let mut table = Table::new(title, &columns);
    let mut row = |name: &str, digits: usize, of: &dyn Fn(&Round) -> f64| {
        let mut values: Vec<f64> = rounds.iter().map(of).collect();
        let mut cells: Vec<String> = values.iter().map(|v| format!("{v:.digits$}")).collect();
        values.sort_by(f64::total_cmp);
        cells.extend(
            values
                .get(values.len() / 2)
                .map(|v| format!("{v:.digits$}")),
        );
        table.row(name, cells);
    };
    row("rule applied to pushed, s", 2, &|r| {
        r.from_rule.as_secs_f64()
    });
    row("list begun to pushed, s", 2, &|r| r.from_list.as_secs_f64());
    row("of which listing, s", 2, &|r| r.list.as_secs_f64());
    row("limit: paged list, s", 2, &|r| r.limit.list.as_secs_f64());
    row("limit: git fast-import, s", 2, &|r| {
        r.limit.import.as_secs_f64()
    });
    row("limit: git push, s", 2, &|r| r.limit.push.as_secs_f64());
    row("limit: all three, s", 2, &|r| r.limit.total().as_secs_f64());
    row("**list begun to pushed / limit**", 2, &|r| {
        ratio(r.from_list, r.limit.total())
    });
    row("rule applied to pushed / limit", 2, &|r| {
        ratio(r.from_rule, r.limit.total())
    });
    row("commits", 0, &|r| r.commits as f64);
    row("pushes", 0, &|r| r.pushes as f64);
    row(
        "processor time of the reverser, s",
        2,
        &|r| cpu(&r.reverser),
    );
    row("processor time of the webhook, s", 2, &|r| cpu(&r.webhook));
    for (who, of) in [
        ("reverser", (|r| &r.reverser) as fn(&Round) -> &Phases),
        ("webhook", |r| &r.webhook),
    ] {
        row(&format!("{who}: memory idle after start, MiB"), 1, &|r| {
            mib(of(r).idle.rss_kib)
        });
        row(&format!("{who}: peak during the seed, MiB"), 1, &|r| {
            mib(of(r).done.peak_kib)
        });
        row(&format!("{who}: after it, MiB"), 1, &|r| {
            mib(of(r).after.rss_kib)
        });
    }
    table.text
}

/// The lag, a column for each load.
pub(crate) fn lag(title: &str, outcomes: &[(String, Outcome)]) -> String {
    let columns: Vec<String> = outcomes.iter().map(|(name, _)| name.clone()).collect();
    let mut table = Table::new(title, &columns);
    let mut row = |name: &str, digits: usize, of: &dyn Fn(&Outcome) -> f64| {
        table.row(
            name,
            outcomes.iter().map(|(_, o)| format!("{:.digits$}", of(o))),
        );
    };
    row("writes", 0, &|o| o.writes as f64);
    row("writes a second", 1, &|o| o.rate);
    row("files in the repository", 0, &|o| o.files as f64);
    row("**lag: median, s**", 2, &|o| quantile(&o.lags, 0.5));
    row("lag: p95, s", 2, &|o| quantile(&o.lags, 0.95));
    row("**lag: p99, s**", 2, &|o| quantile(&o.lags, 0.99));
    row("lag: longest, s", 2, &|o| quantile(&o.lags, 1.0));
    row("the apiserver's answer: median, ms", 1, &|o| {
        quantile(&o.answers, 0.5) * 1e3
    });
    row("the apiserver's answer: p99, ms", 1, &|o| {
        quantile(&o.answers, 0.99) * 1e3
    });
    row("commits", 0, &|o| o.commits as f64);
    row("pushes", 0, &|o| o.pushes as f64);
    row("overwritten by their author within a batch", 0, &|o| {
        o.overwritten as f64
    });
    row(
        "versions missing, out of order or by somebody else",
        0,
        &|o| o.faults.len() as f64,
    );
    row("processor time of the reverser, s", 2, &|o| {
        (o.done.0.cpu - o.before.0.cpu).as_secs_f64()
    });
    row("processor time of the webhook, s", 2, &|o| {
        (o.done.1.cpu - o.before.1.cpu).as_secs_f64()
    });
    row("reverser: peak memory, MiB", 1, &|o| mib(o.done.0.peak_kib));
    row("webhook: peak memory, MiB", 1, &|o| mib(o.done.1.peak_kib));
    table.text
}

/// Going on watching, in one column.
pub(crate) fn keep(title: &str, kept: &Kept) -> String {
    let mut table = Table::new(title, &["figure".to_owned()]);
    let mut row = |name: &str, digits: usize, value: f64| {
        table.row(name, [format!("{value:.digits$}")]);
    };
    let (started, seeded, idle) = (&kept.started.0, &kept.seeded.0, &kept.idle.0);
    row("reverser: at rest before, MiB", 1, mib(started.rss_kib));
    row("**peak during the seed, MiB**", 1, mib(seeded.peak_kib));
    row("**after it, MiB**", 1, mib(idle.rss_kib));
    row("of which no file's, MiB", 1, mib(idle.anonymous_kib));
    row("**idle: of a core, %**", 2, kept.idle_share.0 * 100.0);
    row("the sidecar, of a core, %", 2, kept.idle_share.1 * 100.0);
    row("restart to caught up, s", 2, kept.caught_up.as_secs_f64());
    row("of which until ready, s", 2, kept.ready.as_secs_f64());
    row("limit: paged list, s", 2, kept.list.as_secs_f64());
    row(
        "**ready to caught up / limit**",
        2,
        ratio(kept.caught_up.saturating_sub(kept.ready), kept.list),
    );
    row(
        "restart to caught up / limit",
        2,
        ratio(kept.caught_up, kept.list),
    );
    row(
        "processor time since the restart, s",
        2,
        kept.restarted.0.cpu.as_secs_f64(),
    );
    row(
        "peak since the restart, MiB",
        1,
        mib(kept.restarted.0.peak_kib),
    );
    table.text
}

/// Commits of one file, a column for each tree; ratios are to the first.
pub(crate) fn commits(costs: &[(Shape, Cost)]) -> String {
    let columns: Vec<String> = costs
        .iter()
        .map(|(shape, _)| format!("{} files in {} folders", shape.files, shape.folders))
        .collect();
    let mut table = Table::new("commits of one file, each", &columns);
    let mut row = |name: &str, of: &dyn Fn(&Cost) -> Duration| {
        let values: Vec<f64> = costs
            .iter()
            .map(|(_, cost)| of(cost).as_secs_f64())
            .collect();
        let first = values.first().copied().unwrap_or_default();
        table.row(
            name,
            values
                .iter()
                .map(|v| format!("{:.2} ({:.2})", v * 1e3, v / first)),
        );
    };
    row("made in memory, ms (ratio)", &|c| c.made);
    row("made and saved, ms", &|c| c.saved);
    row("**of that, processor time, ms**", &|c| c.saved_cpu);
    row("made, and 200 of them saved and pushed, ms", &|c| c.pushed);
    row("of that, processor time without git's, ms", &|c| c.cpu);
    row("processor time of git at the server, ms", &|c| c.server_cpu);
    row("made, saved and pushed one by one, ms", &|c| c.one_by_one);
    table.text
}

fn cpu(phases: &Phases) -> f64 {
    phases
        .done
        .cpu
        .saturating_sub(phases.idle.cpu)
        .as_secs_f64()
}

fn ratio(of: Duration, to: Duration) -> f64 {
    of.as_secs_f64() / to.as_secs_f64()
}

pub(crate) fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}

/// Seconds; nearest rank.
pub(crate) fn quantile(sorted: &[Duration], share: f64) -> f64 {
    #[expect(clippy::cast_possible_truncation, reason = "no more than there are")]
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted
        .get(rank.saturating_sub(1))
        .map_or(0.0, Duration::as_secs_f64)
}
