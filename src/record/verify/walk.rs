//! One pass over a log: its entries, the tree that they make, its tiles, and every checkpoint on file.

use std::collections::{BTreeMap, VecDeque};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::cosigned::{Cosigned, Point};
use super::crypto::Tree;
use super::feed::Feed;
use super::grid::Grid;
use super::judge::{FULL, Judge, Judged, JudgedLot};
use super::notes::{MOST_NOTE, read_checkpoint};
use super::pairing::Pairing;
use super::pipeline::pipeline;
use super::receipts::Receipts;
use super::report::{Findings, Report};
use super::signing::Handover;
use super::source::Source;
use super::story::Story;
use super::times::{TOLERANCE, Times};
use super::timestamps::Stamps;
use super::{Options, VerifyError};
use crate::record::store::CHECKPOINT;
use crate::types::ExchangeId;

/// Checkpoints between which consistency is proven, too: the newest on file.
const PROVEN: usize = 64;

/// Who hears of each story, in the order of the entries.
pub(super) type Listener<'a> = &'a mut dyn FnMut(u64, ExchangeId, Story);

/// What is concluded on the way, entry by entry.
pub(super) struct Books<'a> {
    pub(super) grid: Grid<'a>,
    pub(super) points: Cosigned<'a>,
    stamps: Stamps<'a>,
    tree: Tree,
    size: u64,
    /// Entries that were read as entries.
    read: u64,
    pairing: Pairing,
    paired: Findings,
    signed: Findings,
    misshapen: Findings,
    again: Findings,
    tree_findings: Findings,
    receipts: Receipts,
    times: Times,
    /// The last leaves, for entries that are met again in the write-ahead log.
    source: &'a dyn Source,
    tile: Option<(u64, Vec<u8>)>,
    compared_again: u64,
    met: u64,
    /// The largest checkpoint on file that the policy's quorum cosigned.
    witnessed: Option<u64>,
    newest: VecDeque<(u64, [u8; 32])>,
    /// The entries that the list of keys wants, by their place.
    handovers: BTreeMap<u64, Handover>,
    handed: Findings,
    changes: u64,
}

impl<'a> Books<'a> {
    pub(super) fn new(
        source: &'a dyn Source,
        (points, stamps): (Cosigned<'a>, Stamps<'a>),
        size: u64,
        handovers: BTreeMap<u64, Handover>,
    ) -> Self {
        Self {
            grid: Grid::new(source, size),
            points,
            stamps,
            tree: Tree::default(),
            size,
            read: 0,
            pairing: Pairing::default(),
            paired: Findings::default(),
            signed: Findings::default(),
            misshapen: Findings::default(),
            again: Findings::default(),
            tree_findings: Findings::default(),
            receipts: Receipts::default(),
            times: Times::default(),
            source,
            tile: None,
            compared_again: 0,
            met: 0,
            witnessed: None,
            newest: VecDeque::new(),
            handovers,
            handed: Findings::default(),
            changes: 0,
        }
    }

    fn take(&mut self, lot: JudgedLot, listener: &mut Option<Listener<'_>>) {
        if lot.again {
            return self.compare_again(&lot);
        }
        if lot.misshapen {
            let what = format!("the bundle of entry {} has not exactly its entries", lot.first);
            self.misshapen.add(Some(lot.first), what);
        }
        let end = lot.first + lot.entries.len() as u64;
        self.meet();
        // Where no checkpoint lies inside, the bundle goes into the tree as a whole.
        let whole = lot.root.filter(|_| {
            let inside = self.points.peek().is_some_and(|point| point.size < end)
                || self.stamps.peek().is_some_and(|stamp| stamp.size < end);
            lot.first.is_multiple_of(FULL as u64) && self.tree.size() == lot.first && !inside
        });
        for (index, judged) in (lot.first..).zip(lot.entries) {
            self.grid.leaf(&judged.leaf);
            let leaf = judged.leaf;
            self.entry(index, judged, lot.read, listener);
            if whole.is_none() {
                self.tree.push_full(0, leaf, |height, root| self.grid.made(height, root));
                self.step();
            }
        }
        if let Some(root) = whole {
            self.tree.push_full(8, root, |height, root| self.grid.made(height, root));
            self.step();
        }
    }

    /// The tree has grown.
    fn step(&mut self) {
        if self.tree.size() == self.size {
            self.grid.edge();
        }
        self.meet();
    }

    /// Compares the tree with each checkpoint of its size.
    fn meet(&mut self) {
        self.meet_stamps();
        while self.points.peek().is_some_and(|point| point.size <= self.tree.size()) {
            let Some(point) = self.points.next() else { return };
            self.met += 1;
            if self.tree.root() != point.root {
                let what = format!(
                    "{}: the first {} entries are not those that it signs: some were changed, removed, added or put in \
                     another order",
                    point.place, point.size
                );
                self.tree_findings.add(None, what);
                continue;
            }
            self.judge_times(&point);
            if self.newest.back().is_none_or(|(size, _)| *size != point.size) {
                self.newest.push_back((point.size, point.root));
                if self.newest.len() > PROVEN {
                    self.newest.pop_front();
                }
            }
        }
    }

    /// Compares the tree with each checkpoint of its size that an authority stamped.
    fn meet_stamps(&mut self) {
        while self.stamps.peek().is_some_and(|stamp| stamp.size <= self.tree.size()) {
            let Some(stamp) = self.stamps.next() else { return };
            if self.tree.root() != stamp.root {
                let what = format!(
                    "{}: the first {} entries are not those that were stamped: some were changed, removed, added or put \
                     in another order",
                    stamp.place, stamp.size
                );
                self.stamps.findings.add(None, what);
            } else if let Some(at) = stamp.at {
                self.times.cosigned((at, at));
            }
        }
    }

    fn judge_times(&mut self, point: &Point) {
        if let Some(times) = point.times {
            self.times.cosigned(times);
        }
        if point.quorum {
            self.witnessed = self.witnessed.max(Some(point.size));
        }
    }

    fn entry(&mut self, index: u64, judged: Judged, read: bool, listener: &mut Option<Listener<'_>>) {
        self.read += u64::from(read);
        if let Some(fault) = judged.fault {
            return self.signed.add(Some(index), format!("entry {index} {fault}"));
        }
        let Some(says) = judged.says else {
            if read {
                let what = format!("entry {index} is neither a decision nor an outcome, receipt or key");
                self.paired.add(Some(index), what);
            }
            return;
        };
        if let Some(handover) = says.handover {
            self.changes += 1;
            if self.handovers.remove(&index).as_ref() != Some(&*handover) {
                let what = format!("entry {index} hands the log over to a key, and the list of keys does not say so");
                self.handed.add(Some(index), what);
            }
        }
        self.times.entry(index, says.at);
        for worth in says.worth {
            self.receipts.take(index, worth);
        }
        if let Some((exchange, step)) = says.step {
            self.receipts.tied(index, exchange, &says.ties);
            self.pairing.take(index, exchange, step, &mut self.paired);
            if let (Some(listener), Some(story)) = (listener, says.story) {
                listener(index, exchange, *story);
            }
        }
    }

    /// Entries of the write-ahead log that the tiles hold already: the same must stand in both.
    fn compare_again(&mut self, lot: &JudgedLot) {
        for (index, judged) in (lot.first..).zip(&lot.entries) {
            let (tile, place) = (index / FULL as u64, (index % FULL as u64) as usize * 32);
            if self.tile.as_ref().is_none_or(|(kept, _)| *kept != tile) {
                let width = crate::record::tiles::width_at(0, tile, self.size);
                let id = crate::record::tiles::TileId { level: 0, index: tile, width };
                self.tile = Some((tile, self.source.read(&id.path()).unwrap_or_default()));
            }
            let there = self.tile.as_ref().and_then(|(_, bytes)| bytes.get(place..place + 32));
            self.compared_again += 1;
            if there != Some(&judged.leaf[..]) {
                let what = format!("entry {index} of the write-ahead log is not the one that the tiles hold");
                self.again.add(Some(index), what);
            }
        }
    }
}

/// Reads the log and adds its checks to the report.
pub(super) fn walk<'a>(
    mut feed: Feed<'a>,
    mut books: Books<'a>,
    judge: &Judge<'_>,
    options: &Options<'_>,
    report: &mut Report,
    mut listener: Option<Listener<'_>>,
    mut progress: impl FnMut(u64, u64),
) -> Result<(), VerifyError> {
    let size = books.size;
    {
        let mut next = || {
            progress(feed.next.min(size), size);
            feed.read()
        };
        pipeline(options.threads, &mut next, |lot| judge.lot(lot), |lot| books.take(lot, &mut listener))?;
    }
    progress(size, size);
    books.meet();
    books.grid.finish(feed.renewed);
    conclude(feed, books, judge, options, report);
    Ok(())
}

fn conclude(mut feed: Feed<'_>, mut books: Books<'_>, judge: &Judge<'_>, options: &Options<'_>, report: &mut Report) {
    let total = books.tree.size();
    report.entries = total;
    report.checkpointed = books.size;
    report.root = STANDARD.encode(books.tree.root());
    feed.bundles.append(books.misshapen);
    let bundles = books.read.saturating_sub(total.saturating_sub(books.size)).div_ceil(FULL as u64);
    if feed.private {
        report.not_checked.push("what the entries say: the log shows us its tree and not its entries".into());
    } else {
        report.conclude("bundles", bundles, "every entry is there, and nothing else".into(), feed.bundles);
    }
    report.conclude("tiles", books.grid.compared, "each holds the hashes of the entries".into(), books.grid.findings);
    if books.source.directory().is_some() {
        let whole = feed.frames.is_empty();
        let beyond = total.saturating_sub(books.size);
        report.conclude(
            "frames",
            feed.wal_entries,
            format!(
                "{} bytes of the write-ahead log, each frame with its checksum, and only zeros behind",
                feed.wal_bytes
            ),
            feed.frames,
        );
        feed.indices.append(books.again);
        let detail = format!(
            "without a gap; {} entries of the write-ahead log are those of the tiles, {beyond} lie beyond them",
            books.compared_again
        );
        report.conclude("indices", feed.wal_entries, detail, feed.indices);
        if beyond > 0 || !whole {
            report
                .not_checked
                .push("that no entry was cut off beyond the checkpoint: only the next one covers it".into());
        }
    }
    if books.read > 0 || !feed.private {
        let what = "each entry a JWS of the log's key, with the header a record has";
        let (what, gap) = if judge.signatures { (what, None) } else { ("each entry has the form of one", Some(())) };
        if gap.is_some() {
            report.not_checked.push("the signatures of entries and what they keep of others': not asked for".into());
        }
        report.conclude(if judge.signatures { "signatures" } else { "entries" }, books.read, what.into(), books.signed);
    }
    for index in books.handovers.keys().filter(|index| **index < total) {
        let what = format!("the list of keys wants entry {index} to hand the log over, and it does not");
        books.handed.add(Some(*index), what);
    }
    if books.changes > 0 || !books.handed.is_empty() {
        let detail = "each key but the first was put in place by an entry under the one before";
        report.conclude("keys", books.changes, detail.into(), std::mem::take(&mut books.handed));
    }
    let newer = newest_size(books.source).unwrap_or(books.size);
    conclude_tree(&mut books.points, books.met, books.tree_findings, (books.size, total, newer), report);
    conclude_consistency(&books.newest, options, report);
    conclude_witnesses(&mut books.points, books.witnessed, total, options, report);
    let stamped = books.stamps.conclude((books.size, total, newer), report);
    if !feed.private {
        conclude_times(books.times, options.policy.is_some() || stamped > 0, report);
        // Until an entry is covered by a checkpoint, its exchange may be under way.
        let whole = !feed.broken;
        let recent = if whole { books.size } else { 0 };
        let (pairs, detail) = books.pairing.finish(recent, &mut books.paired);
        let detail = if whole { detail } else { "as far as the log could be read".into() };
        report.conclude("pairing", pairs, detail, books.paired);
        if !whole {
            report.not_checked.push("which exchanges have no outcome: the log could not be read to its end".into());
        }
        if judge.signatures {
            report.not_checked.extend(books.receipts.gaps());
            let what = "each signature that an entry keeps fits its text, and its text the exchange";
            report.conclude("receipts", books.receipts.count, what.into(), books.receipts.findings);
        }
    }
}

fn conclude_tree(
    points: &mut Cosigned<'_>,
    met: u64,
    mut findings: Findings,
    (size, total, newer): (u64, u64, u64),
    report: &mut Report,
) {
    if total < size {
        findings.add(None, format!("the checkpoint signs {size} entries, and only {total} can be read"));
    }
    let (mut unmet, mut later) = (0, 0);
    while let Some(point) = points.next() {
        unmet += 1;
        if point.size > size && point.size <= newer {
            later += 1;
        } else if total >= size && point.size > size {
            let what = format!("{}: it signs {} entries, and the log has {total}", point.place, point.size);
            findings.add(None, what);
        }
    }
    if later > 0 {
        report.not_checked.push(format!("{later} checkpoints that the log signed while this check was made"));
    }
    if met + unmet == 0 {
        findings.add(None, "there is no checkpoint to compare the tree with".into());
    }
    let beyond = match total.saturating_sub(size) {
        0 => String::new(),
        1 => format!("; entry {size} lies beyond it"),
        beyond => format!("; {beyond} entries lie beyond it, {size} to {}", total - 1),
    };
    let detail = format!("the root over the entries is the one that each checkpoint signs{beyond}");
    report.conclude("tree", met, detail, findings);
    let lines = points.lines;
    report.conclude(
        "cosigned",
        lines,
        "each is a checkpoint of this log under its key".into(),
        std::mem::take(&mut points.findings),
    );
}

/// The size that the log's checkpoint states now: it may have grown since the check began.
fn newest_size(source: &dyn Source) -> Option<u64> {
    let note = source.whole(CHECKPOINT, MOST_NOTE).ok()?;
    read_checkpoint(std::str::from_utf8(&note).ok()?).map(|(_, checkpoint)| checkpoint.size)
}

/// Proves the newest checkpoints on file to be consistent, each with the one before, as a witness would.
fn conclude_consistency(newest: &VecDeque<(u64, [u8; 32])>, options: &Options<'_>, report: &mut Report) {
    let Some(prove) = options.prove.filter(|_| newest.len() > 1) else { return };
    let mut findings = Findings::default();
    for ((old, was), (new, is)) in newest.iter().zip(newest.iter().skip(1)) {
        match prove(*old, *new) {
            Ok(path) if super::proof::is_consistent((*old, was), (*new, is), &path) => {}
            Ok(_) => {
                findings.add(None, format!("the tiles do not prove that the tree of {new} begins with that of {old}"))
            }
            Err(error) => findings.add(None, format!("no proof from {old} to {new} can be made of the tiles: {error}")),
        }
    }
    let detail = "from each of the newest checkpoints to the next by the rules of RFC 9162, over the log's tiles";
    report.conclude("consistency", newest.len() as u64 - 1, detail.into(), findings);
}

fn conclude_witnesses(
    points: &mut Cosigned<'_>,
    witnessed: Option<u64>,
    total: u64,
    options: &Options<'_>,
    report: &mut Report,
) {
    let mut findings = std::mem::take(&mut points.witnesses);
    let Some(policy) = options.policy else {
        if points.unknown > 0 {
            let what = "whose the {} cosignatures are that stand under checkpoints: give --policy";
            report.not_checked.push(what.replace("{}", &points.unknown.to_string()));
        }
        report
            .not_checked
            .push("that no later entries were dropped together with their checkpoint: that needs witnesses".into());
        return;
    };
    if witnessed.is_none() {
        findings.add(None, "no checkpoint on file has the quorum of the policy".into());
    }
    let covered = witnessed.unwrap_or(0);
    let detail = format!(
        "cosignatures of the policy's {} witnesses; {} checkpoints have its quorum, the latest over {covered} entries",
        policy.witnesses(),
        points.with_quorum
    );
    report.conclude("witnesses", points.cosignatures, detail, findings);
    if points.unknown > 0 {
        let what = format!("{} signatures under checkpoints by keys that the policy does not list", points.unknown);
        report.not_checked.push(what);
    }
    if covered < total {
        let what = format!("that nothing was dropped behind entry {covered}: no quorum of witnesses saw the rest yet");
        report.not_checked.push(what);
    }
}

fn conclude_times(times: Times, witnessed: bool, report: &mut Report) {
    if !witnessed || times.bounded == 0 {
        let what = "that the times are true: that needs cosignatures, and a policy that lists the witnesses, or timestamps, \
                    and who made them";
        report.not_checked.push(what.into());
        return;
    }
    if times.unbounded() > 0 {
        let what = format!(
            "that the times of the last {} entries are true: nobody cosigned or stamped them yet",
            times.unbounded()
        );
        report.not_checked.push(what);
    }
    let detail =
        format!("each entry is dated between the cosignatures and timestamps around it, give or take {TOLERANCE} s");
    report.conclude("times", times.bounded, detail, times.findings);
}
