//! Figures as tables, and beside what is asked for.

use std::time::Duration;

use super::one_core::{OneCore, Stage};
use super::paired::Paired;
use crate::args::Args;
use crate::report::{Table, mib, quantile};

/// Most that a write may take longer, in the middle.
const ADDED: f64 = 0.3e-3;
/// Most that an answer may take by the sidecar's own histogram, but for one in a hundred.
const ANSWER: Duration = Duration::from_millis(2);
/// Least that one core has to take.
const RATE: f64 = 2000.0;
/// Most memory at that load.
const MEMORY_MIB: f64 = 20.0;

/// What a write waits for, a column for each size.
pub(super) fn paired(args: &Args, pairs: &[(&str, Paired)]) -> String {
    let title = format!(
        "webhook: {} updates a second by {} users, {} times A B B A of {} s",
        args.webhook_rate, args.users, args.webhook_turns, args.webhook_block_seconds
    );
    let mut table = table(&title, pairs);
    let mut row = |name: &str, digits: usize, of: &dyn Fn(&Paired) -> f64| {
        let cells = pairs.iter().map(|(_, pair)| of(pair));
        table.row(name, cells.map(|value| format!("{value:.digits$}")));
    };
    row("writes counted with the sidecar", 0, &|p| {
        p.sidecar.len() as f64
    });
    row("writes counted with one that only allows", 0, &|p| {
        p.allows.len() as f64
    });
    row("with the sidecar: median, ms", 2, &|p| {
        quantile(&p.sidecar, 0.5) * 1e3
    });
    row("only allows: median, ms", 2, &|p| {
        quantile(&p.allows, 0.5) * 1e3
    });
    row("**median added, ms**", 2, &|p| added(p) * 1e3);
    row("smallest of a turn, ms", 2, &|p| edge(p, false) * 1e3);
    row("largest of a turn, ms", 2, &|p| edge(p, true) * 1e3);
    row("with the sidecar: p99, ms", 1, &|p| {
        quantile(&p.sidecar, 0.99) * 1e3
    });
    row("only allows: p99, ms", 1, &|p| {
        quantile(&p.allows, 0.99) * 1e3
    });
    row("the sidecar's histogram: median, ms", 2, &|p| {
        ms(p.histogram.quantile(0.5))
    });
    row("**the sidecar's histogram: p99, ms**", 2, &|p| {
        ms(p.histogram.quantile(0.99))
    });
    row("answered within 2 ms, %", 2, &|p| {
        p.histogram.within(ANSWER) * 100.0
    });
    table.text
}

/// What a core takes, a column for each size.
pub(super) fn one_core(args: &Args, loads: &[(&str, OneCore)]) -> String {
    let title = format!(
        "webhook: the sidecar on one core, {} s each",
        args.load_seconds
    );
    let mut table = table(&title, loads);
    let mut row = |name: &str, digits: usize, of: &dyn Fn(&OneCore) -> f64| {
        let cells = loads.iter().map(|(_, load)| of(load));
        table.row(name, cells.map(|value| format!("{value:.digits$}")));
    };
    row("bytes of a review", 0, &|l| l.review as f64);
    for (name, of) in [
        ("paced", (|l| &l.paced) as fn(&OneCore) -> &Stage),
        ("as fast as it goes", |l| &l.fastest),
        ("paced, reverser away", |l| &l.away),
    ] {
        let row = &mut |what: &str, digits: usize, figure: &dyn Fn(&Stage) -> f64| {
            row(&format!("{name}: {what}"), digits, &|l| figure(of(l)));
        };
        row("**admissions a second**", 0, &|s| s.answers.rate);
        row("median, ms", 2, &|s| quantile(&s.answers.took, 0.5) * 1e3);
        row("p99, ms", 2, &|s| quantile(&s.answers.took, 0.99) * 1e3);
        row("longest, ms", 1, &|s| quantile(&s.answers.took, 1.0) * 1e3);
        row("the sidecar's histogram: p99, ms", 2, &|s| {
            ms(s.histogram.quantile(0.99))
        });
        row("processor time for an admission, µs", 0, &|s| {
            s.cpu.as_secs_f64() * 1e6
        });
        row("of its core, %", 0, &|s| s.core * 100.0);
        row("not acknowledged in time", 0, &|s| s.late);
        row("in the outbox at the end", 0, &|s| s.waiting);
        row("memory before, MiB", 1, &|s| mib(s.before.rss_kib));
        row("**peak, MiB**", 1, &|s| mib(s.after.peak_kib));
        row("afterwards, MiB", 1, &|s| mib(s.after.rss_kib));
    }
    table.text
}

/// Each figure that there is a limit for, the worse of both sizes.
pub(super) fn asked_for(
    args: &Args,
    pairs: &[(&str, Paired)],
    loads: &[(&str, OneCore)],
) -> String {
    let worst = |values: &mut dyn Iterator<Item = f64>| values.fold(f64::NEG_INFINITY, f64::max);
    let added = worst(&mut pairs.iter().map(|(_, pair)| added(pair)));
    let p99 = worst(
        &mut pairs
            .iter()
            .map(|(_, p)| p.histogram.quantile(0.99).as_secs_f64()),
    );
    let rate = loads.iter().map(|(_, load)| load.fastest.answers.rate);
    let rate = rate.fold(f64::INFINITY, f64::min);
    let peak = |of: fn(&OneCore) -> &Stage| {
        worst(&mut loads.iter().map(|(_, load)| mib(of(load).after.peak_kib)))
    };
    let (paced, away) = (peak(|l| &l.paced), peak(|l| &l.away));

    let columns = ["limit", "here", "met"].map(str::to_owned);
    let mut table = Table::new("webhook: what is asked for", &columns);
    let mut row = |name: &str, limit: String, here: String, met: bool| {
        table.row(
            name,
            [limit, here, if met { "yes" } else { "no" }.to_owned()],
        );
    };
    row(
        &format!("median added at {} writes a second, ms", args.webhook_rate),
        format!("{:.2}", ADDED * 1e3),
        format!("{:.2}", added * 1e3),
        added <= ADDED,
    );
    row(
        "p99 of the sidecar's histogram, ms",
        format!("{:.2}", ms(ANSWER)),
        format!("{:.2}", p99 * 1e3),
        p99 <= ANSWER.as_secs_f64(),
    );
    row(
        "admissions a second on one core",
        format!("{RATE:.0}"),
        format!("{rate:.0}"),
        rate >= RATE,
    );
    for (what, peak) in [("", paced), (", reverser away", away)] {
        row(
            &format!("peak at {} a second{what}, MiB", args.load_rate),
            format!("{MEMORY_MIB:.0}"),
            format!("{peak:.1}"),
            peak <= MEMORY_MIB,
        );
    }
    table.text
}

fn table<T>(title: &str, columns: &[(&str, T)]) -> Table {
    let columns: Vec<String> = columns.iter().map(|(name, _)| (*name).to_owned()).collect();
    Table::new(title, &columns)
}

/// The middle of the turns' differences.
fn added(pair: &Paired) -> f64 {
    let middle = pair.differences.len() / 2;
    pair.differences.get(middle).copied().unwrap_or_default()
}

fn edge(pair: &Paired, last: bool) -> f64 {
    let edge = if last {
        pair.differences.last()
    } else {
        pair.differences.first()
    };
    edge.copied().unwrap_or_default()
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
