//! What the log file asks of the file system, and what happens when that has no room.

use std::fs::File;
use std::io;
use std::sync::Mutex;

use super::*;
use crate::record::ahead::{Ahead, Place, STEP};
use crate::record::store::Storage;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Asked {
    Write { at: u64, bytes: usize },
    Zeros { at: u64, bytes: usize },
    Cut(u64),
    Sync,
}

/// A file that has room for so many bytes, and remembers what it was asked for.
#[derive(Clone)]
struct Cramped {
    file: Arc<File>,
    room: Arc<Mutex<u64>>,
    asked: Arc<Mutex<Vec<Asked>>>,
    why: io::ErrorKind,
}

impl Cramped {
    fn new(file: File, room: u64, why: io::ErrorKind) -> Self {
        Self { file: Arc::new(file), room: Arc::new(Mutex::new(room)), asked: Arc::default(), why }
    }

    fn take(&self) -> Vec<Asked> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }

    fn note(&self, asked: Asked) {
        let mut all = self.asked.lock().unwrap();
        // Pieces of one stretch of zeros are one.
        match (all.last_mut(), &asked) {
            (Some(Asked::Zeros { at, bytes }), Asked::Zeros { at: next, bytes: more })
                if *at + *bytes as u64 == *next =>
            {
                *bytes += more;
            }
            _ => all.push(asked),
        }
    }
}

impl Place for Cramped {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let fits = self.room.lock().unwrap().saturating_sub(offset).min(bytes.len() as u64);
        let fits = usize::try_from(fits).unwrap();
        let (at, count) = (offset, bytes.len());
        self.note(if written(bytes) == 0 {
            Asked::Zeros { at, bytes: count }
        } else {
            Asked::Write { at, bytes: count }
        });
        Place::write_all_at(&*self.file, &bytes[..fits], offset)?;
        if fits < bytes.len() { Err(self.why.into()) } else { Ok(()) }
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.note(Asked::Cut(length));
        Place::set_len(&*self.file, length)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.note(Asked::Sync);
        Ok(())
    }
}

#[test]
fn zeros_come_with_the_batch_that_needs_them_and_go_with_closing() {
    let place = Cramped::new(tempfile::tempfile().unwrap(), u64::MAX, io::ErrorKind::StorageFull);
    let mut wal = Ahead::new(place.clone(), 16);
    let length = || place.file.metadata().unwrap().len();
    let mut append = |count: usize| {
        wal.append(&vec![1; count]).unwrap();
        wal.sync().unwrap();
        place.take()
    };
    let step = usize::try_from(STEP).unwrap();
    let zeros = |at| Asked::Zeros { at, bytes: step };
    assert_eq!(append(100), [Asked::Write { at: 16, bytes: 100 }, zeros(116), Asked::Sync]);
    assert_eq!(length(), 116 + STEP);
    assert_eq!(append(step - 1), [Asked::Write { at: 116, bytes: step - 1 }, Asked::Sync]);
    assert_eq!(append(1), [Asked::Write { at: 115 + STEP, bytes: 1 }, Asked::Sync]);
    assert_eq!(length(), 116 + STEP);
    assert_eq!(append(9), [Asked::Write { at: 116 + STEP, bytes: 9 }, zeros(125 + STEP), Asked::Sync]);
    wal.close().unwrap();
    assert_eq!(place.take(), [Asked::Cut(125 + STEP), Asked::Sync]);
    assert_eq!(length(), 125 + STEP);
}

#[tokio::test]
async fn a_log_without_room_for_zeros_goes_on_until_there_is_none_for_entries() {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    for why in [StorageFull, QuotaExceeded, FileTooLarge] {
        let world = World::new();
        let asked = Arc::default();
        let kept = Arc::clone(&asked);
        let wrap = |disk: crate::record::store::Disk| {
            let place = |file| Cramped { asked: kept, ..Cramped::new(file, 40_000, why) };
            Box::new(disk.on(place)) as Box<dyn Storage>
        };
        let log = Log::open_on(world.config(), world.signer.clone(), &ManualClock::new(NOW), wrap).unwrap();
        let mut acknowledged = 0;
        let failed = loop {
            let entry = log.seal(&decision(ExchangeId::new(NOW), Verdict::Deny)).unwrap();
            match log.append(entry).await {
                Ok(index) => assert_eq!(index.0, acknowledged),
                Err(error) => break error,
            }
            acknowledged += 1;
        };
        assert_eq!(failed.code(), "record_unavailable");
        assert!(acknowledged > 40, "{acknowledged} entries in 40,000 bytes");
        // Zeros were tried once, and what came of it given back.
        let asked: Vec<Asked> = std::mem::take(&mut asked.lock().unwrap());
        assert_eq!(asked.iter().filter(|asked| matches!(asked, Asked::Zeros { .. })).count(), 1);
        assert_eq!(asked.iter().filter(|asked| matches!(asked, Asked::Cut(_))).count(), 1);
        let crashed = world.crashed(&world.wal());
        assert_eq!(crashed.open().unwrap().size(), acknowledged);
    }
}

#[tokio::test]
async fn zeros_that_fail_for_another_reason_end_the_log() {
    for room in [0, 16, 700, 40_000] {
        let world = World::new();
        let wrap = |disk: crate::record::store::Disk| {
            Box::new(disk.on(|file| Cramped::new(file, room, io::ErrorKind::Other))) as Box<dyn Storage>
        };
        let log = Log::open_on(world.config(), world.signer.clone(), &ManualClock::new(NOW), wrap).unwrap();
        let entry = log.seal(&decision(ExchangeId::new(NOW), Verdict::Deny)).unwrap();
        assert_eq!(log.append(entry).await.unwrap_err().code(), "record_unavailable");
        assert_eq!(log.close().await.unwrap_err().code(), "record_unavailable");
        let crashed = world.crashed(&world.wal());
        let reopened = crashed.open().unwrap();
        fill(&reopened, 1).await;
        reopened.close().await.unwrap();
        assert!(crashed.verify().verified);
    }
}
