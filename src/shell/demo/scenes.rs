//! The story, scene by scene, and what must come of each.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::Full;
use serde_json::Value;

use super::cast::{BENGALURU, HARBOUR, KANSAI, OSAKA, Party, RHINE, WESSEX};
use super::client::{Pass, Reply, ask, certificate_digest, local, mutual_tls, sign};
use super::data_service::dataset;
use super::report::{Exchange, Report, size};
use super::stage::Stage;
use crate::decide::{Approval, Grant};
use crate::shell::assemble::certificates;
use crate::shell::certs::{Identity, Leaf};
use crate::types::{Clock as _, PartyId, SystemClock, Timestamp};

const DISASTER: &str = "dfft:DisasterResponse";
const RESEARCH: &str = "dpv:AcademicResearch";
const NOTIFICATION: &str = "dfft:StatutoryHealthNotification";
const SCIENCE: &str = "dpv:ScientificResearch";
const JOINT: &str = "dfft:JointDevelopment";

/// What a scene must come to.
enum Expected<'a> {
    /// Permitted, and what must have been done to the payload, in order.
    Permit(&'a [&'a str]),
    /// Refused with this code, by these rules.
    Refuse(&'a str, &'a [&'a str]),
}

/// Plays every scene.
pub(super) async fn play(stage: &mut Stage, report: &mut Report, stream_mib: u64) -> Result<()> {
    let mut scenes = Scenes { stage, report };
    scenes.open_data().await?;
    scenes.health_records().await?;
    scenes.emerging_technology().await?;
    scenes.trade_secret().await?;
    scenes.refusals().await?;
    scenes.push().await?;
    scenes.stream(stream_mib).await?;
    scenes.suspension().await
}

struct Scenes<'a> {
    stage: &'a mut Stage,
    report: &'a mut Report,
}

impl Scenes<'_> {
    async fn open_data(&mut self) -> Result<()> {
        self.report.say("Open data for disaster response");
        for (from, to, id) in [
            (&KANSAI, &WESSEX, "usgs-earthquakes"),
            (&WESSEX, &KANSAI, "landsat-stac"),
            (&WESSEX, &KANSAI, "sentinel-stac"),
        ] {
            let started = Instant::now();
            let reply = self.application(to, from, id, DISASTER, None).await?;
            let untouched = dataset(id).is_some_and(|bytes| bytes == reply.body.as_slice());
            let differences = if untouched { vec![] } else { vec!["the bytes differ from the source's".to_owned()] };
            self.ended("open data", from, to, (id, DISASTER), &reply, started, &Expected::Permit(&[]), differences)
                .await?;
        }
        Ok(())
    }

    async fn health_records(&mut self) -> Result<()> {
        self.report.say("\nHealth records: by statute to a health centre, pseudonymised for research abroad");
        let id = "covid-case-reports";
        let started = Instant::now();
        let reply = self.guest(&OSAKA, id, NOTIFICATION, Some("NOTIFY-12")).await?;
        let columns = header_row(&reply.body);
        let mut differences = Vec::new();
        for forbidden in ["payor_group", "drive_thru_ind", "ct_result", "patient_class", "clinic_name"] {
            if columns.iter().any(|column| column == forbidden) {
                differences.push(format!("the statute does not name {forbidden}, and it left"));
            }
        }
        for named in ["fake_last_name", "age", "gender", "result"] {
            if !columns.iter().any(|column| column == named) {
                differences.push(format!("the statute names {named}, and it did not leave"));
            }
        }
        let expected = Expected::Permit(&["keep_only"]);
        self.ended("by statute", &KANSAI, &OSAKA, (id, NOTIFICATION), &reply, started, &expected, differences).await?;

        let done = ["redact", "pseudonymise_hmac", "generalise", "k_anonymity"];
        let mut copies = Vec::new();
        for time in ["first", "second"] {
            let started = Instant::now();
            let reply = self.application(&WESSEX, &KANSAI, id, RESEARCH, Some("RESEARCH-GB")).await?;
            let mut differences = not_identifying(&reply.body);
            copies.push(pseudonyms(&reply.body));
            if time == "second" && copies[0] != copies[1] {
                differences.push("the same person got two pseudonyms for one recipient".to_owned());
            }
            self.ended(
                "research",
                &KANSAI,
                &WESSEX,
                (id, RESEARCH),
                &reply,
                started,
                &Expected::Permit(&done),
                differences,
            )
            .await?;
        }
        let started = Instant::now();
        let reply = self.guest(&RHINE, id, RESEARCH, Some("RESEARCH-DE")).await?;
        let mut differences = not_identifying(&reply.body);
        let joined = pseudonyms(&reply.body).intersection(&copies[0]).count();
        if joined > 0 {
            differences.push(format!("{joined} pseudonyms of two recipients can be joined"));
        }
        self.ended("research", &KANSAI, &RHINE, (id, RESEARCH), &reply, started, &Expected::Permit(&done), differences)
            .await?;
        self.report.say(&format!(
            "     {} persons keep one pseudonym per recipient; the two recipients share none",
            copies[0].len()
        ));
        Ok(())
    }

    async fn emerging_technology(&mut self) -> Result<()> {
        self.report.say("\nEmerging technology outside Group A: a named person has to approve");
        let id = "qpu-calibration";
        let started = Instant::now();
        let reply = self.application(&BENGALURU, &KANSAI, id, SCIENCE, None).await?;
        let expected = Expected::Refuse("review_required", &["DFFT-S10"]);
        self.ended("held for review", &KANSAI, &BENGALURU, (id, SCIENCE), &reply, started, &expected, vec![]).await?;
        let approved = self.approve(id).await?;
        ensure!(approved.status == StatusCode::OK, "the approval was not taken: {}", text(&approved.body));
        self.report.say("     the officer of kansai.example approves for 30 days");
        let started = Instant::now();
        let reply = self.application(&BENGALURU, &KANSAI, id, SCIENCE, None).await?;
        let expected = Expected::Permit(&[]);
        self.ended("approved", &KANSAI, &BENGALURU, (id, SCIENCE), &reply, started, &expected, vec![]).await
    }

    async fn trade_secret(&mut self) -> Result<()> {
        self.report.say("\nA trade secret: without papers, then with agreement and export licence");
        let id = "litho-process";
        let started = Instant::now();
        let reply = self.guest(&RHINE, id, JOINT, None).await?;
        let expected = Expected::Refuse("policy_denied", &["DFFT-I3", "DFFT-S2", "DFFT-S9"]);
        self.ended("without papers", &KANSAI, &RHINE, (id, JOINT), &reply, started, &expected, vec![]).await?;
        let started = Instant::now();
        let reply = self.guest(&RHINE, id, JOINT, Some("LITHO-DE")).await?;
        let marked = reply.exchange().is_some_and(|exchange| text(&reply.body).contains(exchange));
        let differences = if marked { vec![] } else { vec!["the copy carries no mark of its exchange".to_owned()] };
        let expected = Expected::Permit(&["watermark"]);
        self.ended("with papers", &KANSAI, &RHINE, (id, JOINT), &reply, started, &expected, differences).await
    }

    async fn refusals(&mut self) -> Result<()> {
        self.report.say("\nRefused, each for its own reason");
        let open = "usgs-earthquakes";
        let started = Instant::now();
        let reply = self.guest(&HARBOUR, open, DISASTER, None).await?;
        let expected = Expected::Refuse("policy_denied", &["DFFT-S1"]);
        self.ended("sanctioned", &KANSAI, &HARBOUR, (open, DISASTER), &reply, started, &expected, vec![]).await?;

        let started = Instant::now();
        let reply = self.guest(&RHINE, "field-notes", DISASTER, None).await?;
        let expected = Expected::Refuse("policy_denied", &["DFFT-G1"]);
        self.ended("untagged", &KANSAI, &RHINE, ("field-notes", DISASTER), &reply, started, &expected, vec![]).await?;

        let started = Instant::now();
        let reply = self.guest(&RHINE, open, "dpv:Marketing", None).await?;
        let expected = Expected::Refuse("policy_denied", &["DFFT-G2"]);
        let what = (open, "dpv:Marketing");
        self.ended("purpose not offered", &KANSAI, &RHINE, what, &reply, started, &expected, vec![]).await?;

        let rhine = self.stage.identity(&RHINE);
        let now = SystemClock.now();
        let good = Pass {
            audience: KANSAI.id,
            purpose: DISASTER,
            agreement: None,
            issued: now,
            certificate: certificate_digest(&rhine.gateway.certificate_pem)?,
        };
        let hour_ago = Timestamp::from_millis(now.millis().saturating_sub(3_600_000));
        let expired = sign(RHINE.id, rhine, &Pass { issued: hour_ago, ..good.clone() })?;
        let of_another = certificate_digest(&self.stage.identity(&WESSEX).gateway.certificate_pem)?;
        let misbound = sign(RHINE.id, rhine, &Pass { certificate: of_another, ..good.clone() })?;
        for (title, pass, code) in [
            ("expired pass", expired, "pass_expired"),
            ("pass of another certificate", misbound, "pass_wrong_certificate"),
        ] {
            let started = Instant::now();
            let reply = self.with_pass(&RHINE, open, &pass).await?;
            let expected = Expected::Refuse(code, &[]);
            self.ended(title, &KANSAI, &RHINE, (open, DISASTER), &reply, started, &expected, vec![]).await?;
        }

        let once = "usgs-earthquakes-once";
        // A pass that is shown once must be newer than the gateway, by the second.
        tokio::time::sleep(Duration::from_secs(1).saturating_sub(self.stage.age())).await;
        let fresh = Pass { issued: SystemClock.now(), ..good };
        let pass = sign(RHINE.id, self.stage.identity(&RHINE), &fresh)?;
        for expected in [Expected::Permit(&[]), Expected::Refuse("pass_already_used", &[])] {
            let started = Instant::now();
            let reply = self.with_pass(&RHINE, once, &pass).await?;
            self.ended("single-use pass", &KANSAI, &RHINE, (once, DISASTER), &reply, started, &expected, vec![])
                .await?;
        }
        self.unknown_authority().await
    }

    /// A certificate in Wessex's name, from an authority that Wessex does not use.
    async fn unknown_authority(&mut self) -> Result<()> {
        let started = Instant::now();
        let id: PartyId = WESSEX.id.parse()?;
        let an_hour_ago = SystemClock.now().millis().saturating_sub(3_600_000);
        let forged = Identity::mint(&id, Timestamp::from_millis(an_hour_ago), &[], &[])?;
        let address = self.stage.addresses(&KANSAI).partner;
        let request = Request::get("/data/usgs-earthquakes").header(header::HOST, "localhost");
        let kansai = self.stage.identity(&KANSAI);
        let keys = (forged.gateway.certificate_pem.as_str(), forged.gateway.key_pem.as_str());
        let answered = mutual_tls(address, keys, kansai, request.body(Full::default())?).await;
        let mut differences = Vec::new();
        if answered.is_ok() {
            differences.push("a certificate of an unknown authority was served".to_owned());
        }
        let code = "certificate_unknown_issuer";
        let exchange = self.stage.refused_handshake(&KANSAI, code).await?;
        let (index, decision, _) = self.stage.record(&KANSAI, &exchange).await?;
        self.report.exchange(&Exchange {
            title: "unknown authority",
            from: KANSAI.id,
            to: "someone who says wessex.example",
            dataset: "-".to_owned(),
            purpose: "-".to_owned(),
            decision: word(&decision, "decision"),
            code: Some(word(&decision, "code")),
            rules: Vec::new(),
            remedies: Vec::new(),
            done: Vec::new(),
            bytes: 0,
            milliseconds: elapsed(started),
            index,
            exchange,
            differences,
        });
        Ok(())
    }

    async fn push(&mut self) -> Result<()> {
        self.report.say("\nA push: Wessex sends scenes into Kansai's data service, under the policies of both");
        let id = "flood-extent";
        let scenes = dataset("landsat-stac").context("the example data is not there")?;
        let started = Instant::now();
        let request = ask(Method::PUT, &format!("/partners/{}/data/{id}", KANSAI.id), DISASTER, None)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from_static(scenes)))?;
        let reply = local(self.stage.addresses(&WESSEX).local, request).await?;
        let kept = std::fs::read(self.stage.inbox(&KANSAI).join(id));
        let arrived = kept.is_ok_and(|kept| kept == scenes);
        let mut differences = if arrived { vec![] } else { vec!["what was sent did not arrive as it was".to_owned()] };
        if let Some(exchange) = reply.exchange() {
            let (_, _, theirs) = self.stage.record(&KANSAI, exchange).await?;
            let (_, _, ours) = self.stage.record(&WESSEX, exchange).await?;
            if word(&ours, "digest_after") != word(&theirs, "digest_before") {
                differences.push("the two logs do not tell the same of the payload".to_owned());
            }
        }
        self.ended("push", &WESSEX, &KANSAI, (id, DISASTER), &reply, started, &Expected::Permit(&[]), differences).await
    }

    async fn stream(&mut self, mebibytes: u64) -> Result<()> {
        let length = mebibytes * 1024 * 1024;
        self.report.say(&format!("\nA stream of {}, through both gateways", size(length)));
        let id = "sensor-stream";
        let started = Instant::now();
        let reply = self.application(&WESSEX, &KANSAI, &format!("{id}/{length}"), DISASTER, None).await?;
        let differences =
            if reply.bytes == length { vec![] } else { vec![format!("{} of {length} bytes arrived", reply.bytes)] };
        self.ended("stream", &KANSAI, &WESSEX, (id, DISASTER), &reply, started, &Expected::Permit(&[]), differences)
            .await
    }

    async fn suspension(&mut self) -> Result<()> {
        self.report.say("\nSuspended a moment ago");
        self.suspend("suspend").await?;
        let id = "usgs-earthquakes";
        let started = Instant::now();
        let reply = self.application(&BENGALURU, &KANSAI, id, DISASTER, None).await?;
        let expected = Expected::Refuse("partner_suspended", &[]);
        self.ended("suspended", &KANSAI, &BENGALURU, (id, DISASTER), &reply, started, &expected, vec![]).await?;
        // Who is suspended cosigns nothing and has nothing cosigned.
        self.suspend("resume").await
    }

    /// Kansai suspends or resumes Bengaluru.
    async fn suspend(&self, verb: &str) -> Result<()> {
        let path = format!("/api/partners/{}/{verb}", BENGALURU.id);
        let changed = self.admin(&self.stage.identity(&KANSAI).operator, &path, String::new()).await?;
        ensure!(changed.status == StatusCode::OK, "the change was not taken: {}", text(&changed.body));
        Ok(())
    }

    /// An application asks its own gateway for a partner's data.
    async fn application(
        &self,
        asking: &Party,
        provider: &Party,
        path: &str,
        purpose: &str,
        agreement: Option<&str>,
    ) -> Result<Reply> {
        let uri = format!("/partners/{}/data/{path}", provider.id);
        let request = ask(Method::GET, &uri, purpose, agreement).body(Full::default())?;
        local(self.stage.addresses(asking).local, request).await
    }

    /// A partner without a gateway asks Kansai, with a pass it made itself.
    async fn guest(&self, who: &Party, id: &str, purpose: &str, agreement: Option<&str>) -> Result<Reply> {
        let identity = self.stage.identity(who);
        let certificate = certificate_digest(&identity.gateway.certificate_pem)?;
        let pass = Pass { audience: KANSAI.id, purpose, agreement, issued: SystemClock.now(), certificate };
        self.with_pass(who, id, &sign(who.id, identity, &pass)?).await
    }

    async fn with_pass(&self, who: &Party, id: &str, pass: &str) -> Result<Reply> {
        let request = Request::get(format!("/data/{id}"))
            .header(header::HOST, "localhost")
            .header(header::AUTHORIZATION, format!("Bearer {pass}"))
            .body(Full::default())?;
        let identity = self.stage.identity(who);
        let keys = (identity.gateway.certificate_pem.as_str(), identity.gateway.key_pem.as_str());
        mutual_tls(self.stage.addresses(&KANSAI).partner, keys, self.stage.identity(&KANSAI), request).await
    }

    /// Kansai's officer for export control signs an approval and posts it.
    async fn approve(&self, dataset: &str) -> Result<Reply> {
        let officer = &self.stage.identity(&KANSAI).officer;
        let grant = Grant {
            party: BENGALURU.id.to_owned(),
            dataset: dataset.to_owned(),
            direction: "export".to_owned(),
            purpose: SCIENCE.to_owned(),
            action: "transfer".to_owned(),
            rules: BTreeSet::from(["DFFT-S10".to_owned()]),
            reason: "joint calibration study, reviewed".to_owned(),
            exchange: None,
        };
        let chain = certificates(officer.certificate_pem.as_bytes())?;
        let us: PartyId = KANSAI.id.parse()?;
        let signed = Approval::sign(grant, &us, 30, SystemClock.now(), &chain, officer.key_pem.as_bytes())?;
        self.admin(officer, "/api/approvals", signed).await
    }

    /// Posts to Kansai's admin listener.
    async fn admin(&self, person: &Leaf, path: &str, body: String) -> Result<Reply> {
        let request = Request::post(path).header(header::HOST, "localhost").body(Full::new(Bytes::from(body)))?;
        let keys = (person.certificate_pem.as_str(), person.key_pem.as_str());
        mutual_tls(self.stage.addresses(&KANSAI).admin, keys, self.stage.identity(&KANSAI), request).await
    }

    /// Compares an exchange, and its record where the data is or would arrive, with the story.
    #[expect(clippy::too_many_arguments, reason = "a scene is told in one sentence")]
    async fn ended(
        &mut self,
        title: &'static str,
        from: &'static Party,
        to: &'static Party,
        (id, purpose): (&str, &str),
        reply: &Reply,
        started: Instant,
        expected: &Expected<'_>,
        mut differences: Vec<String>,
    ) -> Result<()> {
        let milliseconds = elapsed(started);
        // The provider decides and records; for a push, the receiver's log is the one that tells whether it was taken.
        let log = if title == "push" { to } else { from };
        let exchange = reply.exchange().context("an answer without Sekisho-Exchange")?.to_owned();
        let (index, decision, outcome) = self.stage.record(log, &exchange).await?;
        let done: Vec<String> = carried(&outcome);
        let rules: Vec<String> = list(&decision, "reasons", "rule");
        match expected {
            Expected::Permit(steps) => {
                if !reply.status.is_success() || word(&decision, "decision") != "permit" {
                    differences.push(format!("expected a permit, got {} {}", reply.status, text(&reply.body)));
                }
                if word(&outcome, "ended") != "complete" {
                    differences.push(format!("the record says it ended {}", word(&outcome, "ended")));
                }
                let found: BTreeSet<&str> = done.iter().filter_map(|step| step.split(' ').next()).collect();
                if found != steps.iter().copied().collect() {
                    differences.push(format!("expected {steps:?} to be done, and {done:?} was"));
                }
            }
            Expected::Refuse(code, by) => {
                if reply.code().as_deref() != Some(code) || word(&decision, "code") != *code {
                    differences.push(format!("expected {code}, got {} {}", reply.status, text(&reply.body)));
                }
                if rules != *by {
                    differences.push(format!("expected the rules {by:?}, got {rules:?}"));
                }
            }
        }
        self.report.exchange(&Exchange {
            title,
            from: from.id,
            to: to.id,
            dataset: id.to_owned(),
            purpose: purpose.to_owned(),
            decision: word(&decision, "decision"),
            code: decision.get("code").and_then(Value::as_str).map(str::to_owned),
            remedies: list(&decision, "reasons", "remedy"),
            rules,
            done,
            bytes: outcome.get("bytes_out").and_then(Value::as_u64).unwrap_or(0),
            milliseconds,
            index,
            exchange,
            differences,
        });
        Ok(())
    }
}

fn elapsed(started: Instant) -> u64 {
    u64::try_from(started.elapsed().max(Duration::from_millis(1)).as_millis()).unwrap_or(u64::MAX)
}

fn word(entry: &Value, name: &str) -> String {
    entry.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn list(entry: &Value, list: &str, name: &str) -> Vec<String> {
    let items = entry.get(list).and_then(Value::as_array).into_iter().flatten();
    items.map(|item| word(item, name)).collect()
}

/// What was done to the payload, by kind: the obligations that only accompany it are not listed.
fn carried(outcome: &Value) -> Vec<String> {
    let carried = outcome.get("obligations_carried").and_then(Value::as_array).into_iter().flatten();
    let mut done: BTreeMap<usize, String> = BTreeMap::new();
    for (place, step) in carried.enumerate() {
        if word(step, "how") != "conveyed" {
            let count = step.get("count").and_then(Value::as_u64).unwrap_or(0);
            done.insert(place, format!("{} ×{count}", word(step, "do")));
        }
    }
    done.into_values().collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().take(4096).collect()
}

/// The column names of a CSV payload.
fn header_row(csv: &[u8]) -> Vec<String> {
    let line = csv.split(|byte| *byte == b'\n').next().unwrap_or_default();
    text(line).trim().split(',').map(str::to_owned).collect()
}

/// The values of the first column named `subject_id`.
fn pseudonyms(csv: &[u8]) -> BTreeSet<String> {
    let place = header_row(csv).iter().position(|column| column == "subject_id");
    let Some(place) = place else { return BTreeSet::new() };
    let rows = csv.split(|byte| *byte == b'\n').skip(1).filter(|row| !row.is_empty());
    rows.filter_map(|row| String::from_utf8_lossy(row).split(',').nth(place).map(str::to_owned)).collect()
}

/// What would identify a person in a research copy.
fn not_identifying(csv: &[u8]) -> Vec<String> {
    let mut differences = Vec::new();
    for name in ["fake_first_name", "fake_last_name"] {
        if header_row(csv).iter().any(|column| column == name) {
            differences.push(format!("{name} left"));
        }
    }
    if text(csv).contains("targaryen") {
        differences.push("a name left".to_owned());
    }
    let pseudonyms = pseudonyms(csv);
    if pseudonyms.is_empty() || pseudonyms.iter().any(|pseudonym| pseudonym.len() != 22) {
        differences.push("subject_id is not a pseudonym everywhere".to_owned());
    }
    differences
}
