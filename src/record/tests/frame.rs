//! Reading frames from a file that another process is writing.

use std::io::{Read, Seek, SeekFrom};

use super::*;
use crate::record::frame::Fault;

/// A file that shows another state each time someone goes back in it; the last one stays.
struct Changing {
    states: Vec<Vec<u8>>,
    at: Cursor<Vec<u8>>,
}

impl Changing {
    fn new(states: &[Vec<u8>]) -> Self {
        let mut states: Vec<_> = states.iter().rev().cloned().collect();
        let at = Cursor::new(states.pop().unwrap());
        Self { states, at }
    }
}

impl Read for Changing {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        self.at.read(out)
    }
}

impl Seek for Changing {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        if let Some(next) = self.states.pop() {
            self.at = Cursor::new(next);
        }
        self.at.seek(to)
    }
}

/// How reading ends: cleanly, or with which fault.
fn check(states: &[Vec<u8>], frames: usize, end: &str) {
    let mut reader = Frames::open(Changing::new(states)).unwrap();
    let mut read = 0;
    let ended = loop {
        match reader.next() {
            Ok(Some(frame)) => {
                assert_eq!(frame.index, read);
                read += 1;
            }
            Ok(None) => break "end",
            Err(Fault::Unfinished(_)) => break "unfinished",
            Err(Fault::Bad(_)) => break "bad",
            Err(fault) => panic!("{fault:?}"),
        }
    };
    assert_eq!((read, ended), (frames as u64, end));
}

#[test]
fn what_a_write_under_way_has_not_reached_is_read_again() {
    let entry = |byte: u8| vec![byte; 1500];
    let wal = with_zeros(&forge([&entry(b'a'), &entry(b'b')]), 2000);
    let hole = |from: usize, to: usize| {
        let mut wal = wal.clone();
        wal[from..to].fill(0);
        wal
    };
    let second = Head::default().bytes().len() + 1516;
    check(std::slice::from_ref(&wal), 2, "end");
    // The second frame was read before it was written, in part or whole, and its end after that.
    check(&[hole(second, second + 100), wal.clone()], 2, "end");
    check(&[hole(second + 100, second + 200), wal.clone()], 2, "end");
    check(&[hole(second - 1516, second), wal.clone()], 2, "end");
    // What was seen the second time was under way, too.
    check(&[hole(second, second + 400), hole(second + 500, second + 600), wal.clone()], 1, "bad");
    check(&[hole(second + 100, second + 1300), hole(second + 1300, wal.len())], 1, "unfinished");
    check(&[hole(second, second + 400), hole(second + 40, wal.len())], 1, "unfinished");
    check(&[hole(second + 3, wal.len()), hole(second + 1300, wal.len())], 1, "unfinished");
    let growing = [1000, 800, 600, 400].map(|missing| {
        let mut wal = hole(second + 1516 - missing, wal.len());
        wal[second + 100..second + 110].fill(0);
        wal
    });
    check(&[&growing[..], std::slice::from_ref(&wal)].concat(), 2, "end");
    // What stays as it is was never under way.
    check(&[hole(second, second + 100)], 1, "bad");
    check(&[hole(second + 100, second + 200)], 1, "bad");
    check(&[hole(second + 100, wal.len())], 1, "unfinished");
    check(&[wal[..second + 100].to_vec()], 1, "unfinished");
    check(&[hole(second, wal.len())], 1, "end");
}
