//! The body: what it hands on, how it ends, and that it says so once.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Full};
use serde_json::json;

use super::super::{BodyError, CHUNK, Ended, FilteredBody, Summary};
use super::*;
use crate::types::Digest;

/// What a source does when it is asked.
enum Act {
    Give(Bytes),
    Wait,
    Break,
}

/// A source that follows a script, then ends.
struct Script {
    acts: VecDeque<Act>,
    exact: Option<u64>,
}

#[derive(Debug, PartialEq, thiserror::Error)]
#[error("the line broke")]
struct LineBroke;

impl Body for Script {
    type Data = Bytes;
    type Error = LineBroke;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, LineBroke>>> {
        match self.acts.pop_front() {
            Some(Act::Give(bytes)) => {
                self.exact = self.exact.map(|exact| exact - bytes.len() as u64);
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Some(Act::Wait) => {
                context.waker().wake_by_ref();
                Poll::Pending
            }
            Some(Act::Break) => Poll::Ready(Some(Err(LineBroke))),
            None => Poll::Ready(None),
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.exact.map_or_else(SizeHint::new, SizeHint::with_exact)
    }
}

fn give(text: &str) -> Act {
    Act::Give(Bytes::copy_from_slice(text.as_bytes()))
}

type Reports = Arc<Mutex<Vec<Summary>>>;

fn body(acts: Vec<Act>, exact: Option<u64>, filter: Option<Filter>) -> (FilteredBody<Script>, Reports) {
    let reports = Reports::default();
    let kept = Arc::clone(&reports);
    let source = Script { acts: acts.into(), exact };
    (FilteredBody::new(source, filter, move |summary| kept.lock().unwrap().push(summary)), reports)
}

/// The one report there must be.
fn only(reports: &Reports) -> Summary {
    let reports = reports.lock().unwrap();
    assert_eq!(reports.len(), 1, "{reports:?}");
    reports[0].clone()
}

fn redact() -> Option<Filter> {
    Some(open(json!([{"do": "redact", "fields": ["x"]}]), "application/json").unwrap())
}

async fn collect(body: &mut FilteredBody<Script>) -> (Vec<u8>, Option<BodyError<LineBroke>>) {
    let mut all = Vec::new();
    loop {
        match body.frame().await {
            None => return (all, None),
            Some(Err(error)) => return (all, Some(error)),
            Some(Ok(frame)) => {
                let data = frame.into_data().unwrap();
                assert!((1..=CHUNK).contains(&data.len()));
                all.extend_from_slice(&data);
            }
        }
    }
}

#[tokio::test]
async fn a_filtered_body_is_accounted_for() {
    let (mut body, reports) = body(vec![give("{\"x\""), Act::Wait, give(":1,\"a\":2}")], Some(13), redact());
    assert_eq!(body.size_hint().exact(), None);
    body.prime().await.unwrap();
    assert!(reports.lock().unwrap().is_empty());
    let (all, error) = collect(&mut body).await;
    assert!(error.is_none() && body.is_end_stream());
    assert_eq!(all, b"{\"a\":2}");
    drop(body);
    let summary = only(&reports);
    assert_eq!((summary.bytes_in, summary.bytes_out, &summary.ended), (13, 7, &Ended::Complete));
    assert_eq!(summary.digest_before, Digest::of(b"{\"x\":1,\"a\":2}"));
    assert_eq!(summary.digest_after, Digest::of(b"{\"a\":2}"));
    assert_eq!((summary.carried.len(), summary.carried[0].count), (1, 1));
}

#[tokio::test]
async fn a_body_without_a_filter_passes_uncopied_with_its_length() {
    let piece = Bytes::from_static(b"\x00any bytes");
    let (mut body, reports) = body(vec![Act::Wait, Act::Give(piece.clone()), give("more")], Some(14), None);
    assert_eq!(body.size_hint().exact(), Some(14));
    body.prime().await.unwrap();
    assert_eq!(body.size_hint().exact(), Some(14));
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(first.as_ptr(), piece.as_ptr());
    assert_eq!(body.size_hint().exact(), Some(4));
    assert_eq!(&body.frame().await.unwrap().unwrap().into_data().unwrap()[..], b"more");
    // A server that knows the length asks no further: that is a complete body all the same.
    assert!(body.is_end_stream());
    drop(body);
    let summary = only(&reports);
    assert_eq!((summary.bytes_in, summary.bytes_out, summary.ended), (14, 14, Ended::Complete));
    assert_eq!(summary.digest_before, Digest::of(b"\x00any bytesmore"));
    assert_eq!(summary.digest_after, summary.digest_before);
}

#[tokio::test]
async fn an_empty_body_is_complete_or_malformed() {
    let (mut empty, reports) = body(vec![], Some(0), None);
    empty.prime().await.unwrap();
    assert!(empty.is_end_stream() && empty.size_hint().exact() == Some(0));
    drop(empty);
    assert_eq!(only(&reports).ended, Ended::Complete);

    let (mut empty, reports) = body(vec![], Some(0), redact());
    let refused = empty.prime().await.unwrap_err();
    assert!(matches!(&refused, BodyError::Enforce(error) if error.code() == "payload_malformed"), "{refused}");
    drop(empty);
    assert!(matches!(only(&reports).ended, Ended::Failed(_)));
}

#[tokio::test]
async fn a_bad_head_is_refused_before_anything_is_sent() {
    // The first byte could leave, but what is at hand is looked at too.
    let (mut bad, reports) = body(vec![give("["), give("1,"), give("}")], None, redact());
    let refused = bad.prime().await.unwrap_err();
    assert!(matches!(refused, BodyError::Enforce(EnforceError::Malformed { .. })));
    assert!(bad.frame().await.is_none());
    let summary = only(&reports);
    assert_eq!((summary.bytes_in, summary.bytes_out), (4, 0));
    assert_eq!(
        summary.ended.clone(),
        Ended::Failed(match refused {
            BodyError::Enforce(error) => error,
            BodyError::Source(_) => unreachable!("matched above"),
        })
    );
    drop(bad);
    only(&reports);
}

#[tokio::test]
async fn a_fault_after_the_head_is_an_error_and_never_a_short_body() {
    let (mut late, reports) = body(vec![give("[1,"), Act::Wait, give("2}")], None, redact());
    late.prime().await.unwrap();
    let (all, error) = collect(&mut late).await;
    assert_eq!(all, b"[1");
    assert!(matches!(error, Some(BodyError::Enforce(EnforceError::Malformed { .. }))));
    assert!(!late.is_end_stream());
    let summary = only(&reports);
    assert_eq!((summary.bytes_out, summary.digest_after), (2, Digest::of(b"[1")));
    assert_eq!(summary.digest_before, Digest::of(b"[1,2}"));

    let (mut short, reports) = body(vec![give("[1,")], None, redact());
    assert!(short.prime().await.is_err());
    assert!(matches!(only(&reports).ended, Ended::Failed(_)));

    for filter in [None, redact()] {
        let (mut broken, reports) = body(vec![give("[1,"), Act::Wait, Act::Break], None, filter);
        let (_, error) = collect(&mut broken).await;
        assert!(matches!(error, Some(BodyError::Source(LineBroke))));
        assert!(broken.frame().await.is_none() && !broken.is_end_stream());
        drop(broken);
        assert_eq!(only(&reports).ended, Ended::Broken);
    }
}

#[tokio::test]
async fn a_body_that_is_let_go_is_broken() {
    for filter in [None, redact()] {
        let (mut body, reports) = body(vec![give("[1,"), Act::Wait, give("2]")], None, filter);
        body.frame().await.unwrap().unwrap();
        drop(body);
        assert_eq!(only(&reports).ended, Ended::Broken);
    }
    // Also when all was read and not all was handed on.
    let (mut body, reports) = body(vec![give("[1]")], Some(3), redact());
    body.prime().await.unwrap();
    drop(body);
    let summary = only(&reports);
    assert_eq!((summary.bytes_in, summary.bytes_out, summary.ended), (3, 0, Ended::Broken));
}

#[tokio::test]
async fn an_end_that_is_to_be_asked_for_is_not_assumed() {
    for filter in [None, redact()] {
        let (body, reports) = body(vec![give("[1]")], Some(3), filter);
        let mut body = body.ending_when_asked();
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "[1]");
        assert!(!body.is_end_stream());
        drop(body);
        let summary = only(&reports);
        assert_eq!((summary.bytes_out, summary.ended), (3, Ended::Broken));
    }
    let (asked, reports) = body(vec![give("[1]")], Some(3), None);
    let mut asked = asked.ending_when_asked();
    assert_eq!(collect(&mut asked).await.0, b"[1]");
    assert!(asked.is_end_stream());
    assert_eq!(only(&reports).ended, Ended::Complete);
    // Nothing is complete at once.
    let (empty, reports) = body(vec![], Some(0), None);
    let mut empty = empty.ending_when_asked();
    empty.prime().await.unwrap();
    assert!(empty.is_end_stream());
    drop(empty);
    assert_eq!(only(&reports).ended, Ended::Complete);
}

#[tokio::test]
async fn one_large_frame_is_taken_in_pieces() {
    let large = format!("[{}1]", "1,".repeat(500_000));
    let (mut body, reports) = body(vec![give(&large)], None, redact());
    body.prime().await.unwrap();
    let waker = Waker::noop();
    let mut context = Context::from_waker(waker);
    assert!(matches!(Pin::new(&mut body).poll_frame(&mut context), Poll::Ready(Some(Ok(_)))));
    assert_eq!(body.size_hint().exact(), None);
    let (rest, error) = collect(&mut body).await;
    assert!(error.is_none() && !rest.is_empty());
    let summary = only(&reports);
    assert_eq!(summary.digest_after, Digest::of(large.as_bytes()));
    assert_eq!(summary.ended, Ended::Complete);
}

#[tokio::test]
async fn a_grouped_payload_leaves_only_at_its_end() {
    let demand = json!([{"do": "k_anonymity", "k": 2, "quasi_ids": ["a"]}]);
    let filter = || Some(open(demand.clone(), "text/csv").unwrap());
    let (mut denied, reports) = body(vec![give("a\n1\n"), Act::Wait, give("1\n2\n")], None, filter());
    assert!(denied.prime().await.is_err());
    assert_eq!(only(&reports).bytes_out, 0);
    let (mut good, reports) = body(vec![give("a\n1\n"), Act::Wait, give("1\n")], None, filter());
    good.prime().await.unwrap();
    assert_eq!(collect(&mut good).await.0, b"a\n1\n1\n");
    assert_eq!(only(&reports).ended, Ended::Complete);
}

#[tokio::test]
async fn a_full_body_can_be_filtered_and_boxed() {
    let source = Full::new(Bytes::from_static(b"{\"x\":1}"));
    let body = FilteredBody::new(source, redact(), |_| ()).boxed_unsync();
    assert_eq!(body.collect().await.unwrap().to_bytes(), "{}");
}
