//! Medians of the rounds, as Markdown for people and as JSON for programs.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::load::Sample;

/// The peer that the others are compared with.
pub const YARDSTICK: &str = "nginx";

/// What is moved in each round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Cell {
    /// 1 KiB answers over keep-alive connections.
    Keep,
    /// One long body.
    Stream,
}

/// All rounds of one peer in one cell.
pub struct Row {
    /// What was moved.
    pub cell: Cell,
    /// The peer.
    pub peer: &'static str,
    /// One sample a round.
    pub samples: Vec<Sample>,
    /// The peak of memory in each round, in MiB.
    pub peaks: Vec<f64>,
}

impl Row {
    /// Processor time of one round: microseconds per request, or seconds per GiB.
    fn costs(&self) -> Vec<f64> {
        let cost = |sample: &Sample| match self.cell {
            Cell::Keep => sample.spent.peer * 1e6 / sample.answers as f64,
            Cell::Stream => sample.spent.peer * GIB / sample.bytes as f64,
        };
        self.samples.iter().map(cost).collect()
    }

    /// Requests, or MiB, per second.
    fn rates(&self) -> Vec<f64> {
        let amount = |sample: &Sample| match self.cell {
            Cell::Keep => sample.answers as f64,
            Cell::Stream => sample.bytes as f64 / MIB,
        };
        self.samples.iter().map(|sample| amount(sample) / sample.spent.seconds).collect()
    }

    fn median_of(&self, value: impl Fn(&Sample) -> f64) -> f64 {
        median(self.samples.iter().map(value).collect())
    }

    fn failures(&self) -> u64 {
        self.samples.iter().flat_map(|sample| sample.failures.values()).sum()
    }

    /// How many times the yardstick's cost, when the yardstick ran.
    fn ratio(&self, rows: &[Row]) -> Option<f64> {
        let yardstick = rows.iter().find(|row| row.cell == self.cell && row.peer == YARDSTICK)?;
        Some(median(self.costs()) / median(yardstick.costs()))
    }
}

const MIB: f64 = 1_048_576.0;
const GIB: f64 = MIB * 1024.0;

/// One table a cell.
pub fn markdown(rows: &[Row]) -> String {
    let mut out = String::new();
    for cell in [Cell::Keep, Cell::Stream] {
        let mut these = rows.iter().filter(|row| row.cell == cell).peekable();
        if these.peek().is_none() {
            continue;
        }
        out.push_str(match cell {
            Cell::Keep => {
                "\n| peer | requests/s | p50 µs | p99 µs | CPU µs/request (min..max) | x nginx | core busy | peak RSS MiB | failures |\n\
                 |---|--:|--:|--:|--:|--:|--:|--:|--:|\n"
            }
            Cell::Stream => {
                "\n| peer | MiB/s | CPU s/GiB (min..max) | x nginx | core busy | peak RSS MiB | failures |\n\
                 |---|--:|--:|--:|--:|--:|--:|\n"
            }
        });
        for row in these {
            line(&mut out, row, rows);
        }
    }
    out
}

fn line(out: &mut String, row: &Row, rows: &[Row]) {
    let digits = if row.cell == Cell::Keep { 1 } else { 3 };
    let costs = row.costs();
    let (low, high) = (least(&costs), most(&costs));
    let cost = format!("{:.digits$} ({low:.digits$}..{high:.digits$})", median(costs));
    let ratio = row.ratio(rows).map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"));
    let latency = match row.cell {
        Cell::Keep => {
            format!(" {:.0} | {:.0} |", row.median_of(|sample| sample.p50_us), row.median_of(|sample| sample.p99_us))
        }
        Cell::Stream => String::new(),
    };
    let busy = 100.0 * row.median_of(|sample| sample.spent.peer / sample.spent.seconds);
    // Writing to a String cannot fail.
    let _ = writeln!(
        out,
        "| {} | {:.0} |{latency} {cost} | {ratio} | {busy:.0} % | {:.1} | {} |",
        row.peer,
        median(row.rates()),
        most(&row.peaks),
        row.failures()
    );
}

/// The same figures and every round behind them.
pub fn json(rows: &[Row], settings: Value) -> Value {
    let rows: Vec<Value> = rows.iter().map(|row| entry(row, rows)).collect();
    json!({ "settings": settings, "results": rows })
}

fn entry(row: &Row, rows: &[Row]) -> Value {
    let (cell, rate, cost) = match row.cell {
        Cell::Keep => ("keep", "requests_per_second", "cpu_us_per_request"),
        Cell::Stream => ("stream", "mib_per_second", "cpu_s_per_gib"),
    };
    let rounds = row.samples.iter().zip(&row.peaks).zip(row.rates().into_iter().zip(row.costs()));
    let rounds = rounds.map(|((sample, peak), (amount, price))| {
        json!({
            "answers": sample.answers,
            "bytes": sample.bytes,
            "failures": sample.failures,
            "seconds": sample.spent.seconds,
            "p50_us": sample.p50_us,
            "p99_us": sample.p99_us,
            "peer_cpu_seconds": sample.spent.peer,
            "other_work_share": sample.spent.others,
            "peak_rss_mib": peak,
            (rate): amount,
            (cost): price,
        })
    });
    json!({
        "cell": cell,
        "peer": row.peer,
        (rate): median(row.rates()),
        "p50_us": row.median_of(|sample| sample.p50_us),
        "p99_us": row.median_of(|sample| sample.p99_us),
        (cost): median(row.costs()),
        "times_nginx": row.ratio(rows),
        "peak_rss_mib": most(&row.peaks),
        "failures": row.failures(),
        "rounds": rounds.collect::<Vec<_>>(),
    })
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

fn least(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::INFINITY, f64::min)
}

fn most(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::NEG_INFINITY, f64::max)
}
