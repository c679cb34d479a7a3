//! The configuration as plain typed data: every key with its unit and its default.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Map, Value};

use super::file::FileRef;
use super::name::{Endpoint, SanName, Upstream};
use super::policy::Policy;
use super::timestamps::Timestamps;
use super::witness::Witness;
use crate::authenticate::Signatures;
use crate::types::{DatasetId, PartyId, Purpose, Tag};

/// A whole configuration file, checked for everything that can be known from its text.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// `[party]`: who we are. Required.
    pub party: Party,
    /// `[listen]`: where we accept connections. Required.
    pub listen: Listen,
    /// `[tls]`: our gateway's certificate. Required.
    pub tls: Tls,
    /// `[admin]`: who may operate us. Required with `listen.admin`.
    pub admin: Option<Admin>,
    /// `[passes]`: how passes for our own applications are signed. Required.
    pub passes: Passes,
    /// `[record]`: where the log is kept and what signs it. Required.
    pub record: Record,
    /// `[policy]`: which policies decide. Optional.
    pub policy: Policy,
    /// `[pseudonyms]`: the key behind pseudonyms. Optional; a policy that demands one denies without it.
    pub pseudonyms: Option<Pseudonyms>,
    /// `[state]`: where suspensions and approvals are kept. Optional.
    pub state: State,
    /// `[witness]`: whose logs we cosign, and who cosigns ours. Optional.
    pub witness: Witness,
    /// `[inputs]`: where what was decided on is kept, to be decided again. Optional.
    pub inputs: Inputs,
    /// `[subjects]`: where it is kept whom the record's commitments name. Optional.
    pub subjects: Subjects,
    /// `[receipts]`: how many receipts may be owed to us. Optional.
    pub receipts: Receipts,
    /// `[timestamps]`: who else states when it saw our log. Optional.
    pub timestamps: Option<Timestamps>,
    /// `[limits]`: bounds on what peers can make us spend. Optional.
    pub limits: Limits,
    /// `[[dataset]]`: what we share, in the order of the file.
    pub datasets: Vec<Dataset>,
    /// `[[partner]]`: with whom, in the order of the file.
    pub partners: Vec<Partner>,
    /// `[[agreement]]`: under which papers, in the order of the file.
    pub agreements: Vec<Agreement>,
}

/// What is held about an organisation, ourselves or a partner. A partner's attributes are those that *we* vetted.
#[derive(Debug, Clone, PartialEq)]
pub struct Party {
    /// `id`: its domain-like name. Required.
    pub id: PartyId,
    /// `country`: ISO 3166-1 alpha-2, in capitals. Required.
    pub country: String,
    /// `type`: `company`, `academia`, `public`, `health_center` or `person`. Required.
    pub kind: String,
    /// `membership`: `active`, `suspended` or `ended`. No default: policies deny without it.
    pub membership: Option<String>,
    /// `framework`: the framework agreement it accepted, such as `IAP-FA:1.0`. No default: policies deny without it.
    pub framework: Option<String>,
    /// Every further key: free-form facts for the policy, TOML types kept, dates as text.
    pub facts: Map<String, Value>,
}

impl Party {
    /// The organisation as policies see it: `party`, `country`, `type`, `membership`, `framework` and the facts.
    pub fn attributes(&self) -> Map<String, Value> {
        let mut attributes = self.facts.clone();
        attributes.insert("party".into(), self.id.as_str().into());
        attributes.insert("country".into(), self.country.as_str().into());
        attributes.insert("type".into(), self.kind.as_str().into());
        if let Some(membership) = &self.membership {
            attributes.insert("membership".into(), membership.as_str().into());
        }
        if let Some(framework) = &self.framework {
            attributes.insert("framework".into(), framework.as_str().into());
        }
        attributes
    }
}

/// `[listen]`: addresses as `IP:port`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// `partner`: mutual TLS, for partners' gateways. Required.
    pub partner: SocketAddr,
    /// `local`: plain HTTP for our own applications, on a loopback address only. Default: no such listener.
    pub local: Option<SocketAddr>,
    /// `admin`: mutual TLS for operators. Default: no such listener.
    pub admin: Option<SocketAddr>,
}

/// `[tls]`: the certificate shown to partners and operators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// `certificate`: PEM chain, leaf first. Required.
    pub certificate: FileRef,
    /// `key`: the leaf's private key, PEM. Secret. Required.
    pub key: FileRef,
}

/// `[admin]`: operators of our own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// `anchors`: PEM certificates of the authorities that may vouch for operators. Required.
    pub anchors: FileRef,
}

/// `[passes]`: passes that we mint for our own applications.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passes {
    /// `key`: Ed25519 private key, PKCS#8 PEM. Secret. Required.
    pub key: FileRef,
    /// `retired`: the keys that signed passes before, a JSON Web Key Set with `exp` in each key. Default: none.
    pub retired: Option<FileRef>,
    /// `lifetime`: how long a pass is good, 1s to 10m. Default: [`Passes::LIFETIME`].
    pub lifetime: Duration,
    /// `subject`: the `sub` of a pass whose application gave none. Default: [`Passes::SUBJECT`].
    pub subject: String,
}

impl Passes {
    /// Half of what the wire contract allows: long enough for clocks that disagree, short enough to bound a theft.
    pub const LIFETIME: Duration = Duration::from_secs(5 * 60);
    /// The longest life that the wire contract lets a pass have.
    pub const MOST_LIFETIME: Duration = Duration::from_secs(10 * 60);
    /// A service, since the gateway cannot know which person stands behind a local request.
    pub const SUBJECT: &'static str = "service:local";
}

/// `[record]`: the log of every outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// `directory`: where the log lives, made when absent. Required.
    pub directory: FileRef,
    /// `key`: Ed25519 private key, PKCS#8 PEM. Secret. Required.
    pub key: FileRef,
    /// `origin`: the log's name in checkpoints. Default: `<party id>/log`.
    pub origin: String,
}

/// `[pseudonyms]`: the master key from which each recipient's key is derived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pseudonyms {
    /// `key`: a file of 32 random bytes as 64 hexadecimal digits. Secret. Required.
    pub key: FileRef,
    /// `id`: the key's name in records, so that a rotation can be told. Required.
    pub id: String,
}

/// `[state]`: what must outlive a restart beside the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// `directory`: where suspensions and approvals are kept, made when absent. Default: [`State::DIRECTORY`].
    pub directory: FileRef,
}

impl State {
    /// Beside the configuration file, where an operator looks first.
    pub const DIRECTORY: &'static str = "state";
}

/// `[inputs]`: the inputs that policies decided on, by digest, for `sekisho policy replay`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inputs {
    /// `enabled`: whether any are kept. Default: true.
    pub enabled: bool,
    /// `directory`: where they are kept, made when absent. Default: [`Inputs::DIRECTORY`].
    pub directory: FileRef,
    /// `retention`: days that an input is kept beyond its own, 1d to 3660d. Default: [`Inputs::RETENTION_DAYS`].
    pub retention_days: u32,
    /// `bytes`: the most that all of them may take, 1 MiB to 8 GiB. Default: [`Inputs::BYTES`].
    pub bytes: u64,
}

impl Inputs {
    /// Beside the configuration file, where an operator looks first.
    pub const DIRECTORY: &'static str = "inputs";
    /// A year and a month: a yearly review of the policy can replay all that it governed.
    pub const RETENTION_DAYS: u32 = 400;
    /// Ten years and their leap days: who keeps longer should say so to a data protection officer first.
    pub const MOST_RETENTION_DAYS: u32 = 3660;
    /// At 1 to 2 KiB each, half a million inputs or more: over a thousand new ones on each day of the retention.
    pub const BYTES: u64 = 1024 * 1024 * 1024;
    /// Less would not hold a busy minute.
    pub const LEAST_BYTES: u64 = 1024 * 1024;
    /// As much as a replay can index.
    pub const MOST_BYTES: u64 = 8 * 1024 * 1024 * 1024;
}

/// `[subjects]`: whom the record's commitments name, until they are forgotten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subjects {
    /// `enabled`: whether any are kept. Default: true.
    pub enabled: bool,
    /// `directory`: where they are kept, made when absent. Default: [`Subjects::DIRECTORY`].
    pub directory: FileRef,
    /// `retention`: days that a subject is kept beyond its own, 1d to 3660d. Default: that of the inputs.
    pub retention_days: u32,
    /// `bytes`: the most that all of them may take, 1 MiB to 1 GiB. Default: [`Subjects::BYTES`].
    pub bytes: u64,
}

impl Subjects {
    /// Beside the configuration file, where an operator looks first.
    pub const DIRECTORY: &'static str = "subjects";
    /// At some 150 bytes a pass over a million passes: thousands on each day of the retention.
    pub const BYTES: u64 = 256 * 1024 * 1024;
    /// As much as a reader of the log can hold.
    pub const MOST_BYTES: u64 = 1024 * 1024 * 1024;
}

/// `[receipts]`: receipts for answers of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Receipts {
    /// `owed_at_most`: how many receipts a partner may owe and still be served, 0 to 9999; 0 for any number. Default: 0.
    pub owed_at_most: usize,
}

impl Receipts {
    /// Beyond this the gateway does not count.
    pub const MOST_OWED: usize = 9_999;
}

/// `[limits]`: bounds on what a peer can make us spend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// `workers`: threads that serve exchanges, 0 to 1024; 0 means one per core. Default: 0.
    pub workers: usize,
    /// `connections`: open connections on the partner listener. Default: [`Limits::CONNECTIONS`].
    pub connections: usize,
    /// `exchanges`: exchanges in progress at once. Default: [`Limits::EXCHANGES`].
    pub exchanges: usize,
    /// `head_bytes`: bytes of one request head, 4096 to 1048576. Default: [`Limits::HEAD_BYTES`].
    pub head_bytes: usize,
    /// `headers`: header fields of one request. Default: [`Limits::HEADERS`].
    pub headers: usize,
    /// `handshake`: until a TLS handshake is complete. Default: [`Limits::HANDSHAKE`].
    pub handshake: Duration,
    /// `request_head`: until a request head is complete. Default: [`Limits::REQUEST_HEAD`].
    pub request_head: Duration,
    /// `upstream_connect`: until an upstream or a partner's gateway has accepted a connection.
    /// Default: [`Limits::UPSTREAM_CONNECT`].
    pub upstream_connect: Duration,
    /// `upstream_response`: until an upstream's response head. Default: [`Limits::UPSTREAM_RESPONSE`].
    pub upstream_response: Duration,
    /// `idle`: the longest silence inside a body. Default: [`Limits::IDLE`].
    pub idle: Duration,
    /// `drain`: how long exchanges in progress may take to finish at shutdown. Default: [`Limits::DRAIN`].
    pub drain: Duration,
}

impl Limits {
    /// Partners are tens, each with a few pooled connections: a thousand leaves room for their bursts.
    pub const CONNECTIONS: usize = 1024;
    /// One exchange per connection at full load; HTTP/2 streams beyond that wait their turn.
    pub const EXCHANGES: usize = 1024;
    /// A pass of 2 KiB fits many times; Envoy's edge recommendation for a buffer.
    pub const HEAD_BYTES: usize = 32 * 1024;
    /// Envoy's edge recommendation; honest requests carry a dozen.
    pub const HEADERS: usize = 100;
    /// Two round trips around the globe take under a second; the rest is for a slow signer.
    pub const HANDSHAKE: Duration = Duration::from_secs(10);
    /// Heads fit a few packets: ten seconds is already a peer in trouble or with bad intent.
    pub const REQUEST_HEAD: Duration = Duration::from_secs(10);
    /// An upstream is near; a partner's gateway that has not answered by then will not.
    pub const UPSTREAM_CONNECT: Duration = Duration::from_secs(5);
    /// Data services run queries before they answer.
    pub const UPSTREAM_RESPONSE: Duration = Duration::from_secs(30);
    /// Longer than a slow reader pauses, short enough to give its memory back.
    pub const IDLE: Duration = Duration::from_secs(60);
    /// What service managers and Kubernetes wait before they kill.
    pub const DRAIN: Duration = Duration::from_secs(30);
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            workers: 0,
            connections: Self::CONNECTIONS,
            exchanges: Self::EXCHANGES,
            head_bytes: Self::HEAD_BYTES,
            headers: Self::HEADERS,
            handshake: Self::HANDSHAKE,
            request_head: Self::REQUEST_HEAD,
            upstream_connect: Self::UPSTREAM_CONNECT,
            upstream_response: Self::UPSTREAM_RESPONSE,
            idle: Self::IDLE,
            drain: Self::DRAIN,
        }
    }
}

/// A direction in which a dataset moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accept {
    /// `pull`: a partner fetches it from us.
    Pull,
    /// `push`: a partner sends it to us.
    Push,
}

/// `[[dataset]]`: one thing we share.
#[derive(Debug, Clone, PartialEq)]
pub struct Dataset {
    /// `id`: its name in paths, unique among datasets. Required.
    pub id: DatasetId,
    /// `title`: for people. Optional.
    pub title: Option<String>,
    /// `origin`: the country whose law follows it, ISO 3166-1 alpha-2. Required.
    pub origin: String,
    /// `licence`: an SPDX expression or `LicenseRef-`. Required.
    pub licence: String,
    /// `creator`: whom to attribute. Optional.
    pub creator: Option<String>,
    /// `purposes`: what it is offered for; at least one. Required.
    pub purposes: Vec<Purpose>,
    /// `tags`: of the privacy, ip and security vocabulary. Required; may be empty, and then policies deny.
    pub tags: Vec<Tag>,
    /// `upstream`: the data service behind it, `http://host[:port][/path]`; loopback or private hosts only. Required.
    pub upstream: Upstream,
    /// `accepts`: `pull`, `push` or both. Default: `["pull"]`.
    pub accepts: Vec<Accept>,
    /// `single_use`: whether a pass may be shown only once. Default: false.
    pub single_use: bool,
    /// `visible_to`: partners that see it in the catalogue, `["*"]` for all. Default: all (`None`).
    pub visible_to: Option<Vec<PartyId>>,
    /// `[dataset.columns]`: column or member name to concept, such as `person-id`. Default: none.
    pub columns: Map<String, Value>,
    /// `[dataset.facts]`: free-form facts for the policy, TOML types kept, dates as text. Default: none.
    pub facts: Map<String, Value>,
}

impl Dataset {
    /// Whether it moves in this direction.
    pub fn accepts(&self, direction: Accept) -> bool {
        self.accepts.contains(&direction)
    }

    /// Whether the partner sees it in the catalogue.
    pub fn is_visible_to(&self, party: &PartyId) -> bool {
        self.visible_to.as_ref().is_none_or(|parties| parties.contains(party))
    }

    /// The dataset as policies see it: `id`, `origin`, `licence`, `purposes`, `tags`, `creator`, `columns` and the
    /// facts.
    pub fn attributes(&self) -> Map<String, Value> {
        let texts = |items: Vec<&str>| Value::Array(items.into_iter().map(Value::from).collect());
        let mut attributes = self.facts.clone();
        attributes.insert("id".into(), self.id.as_str().into());
        attributes.insert("origin".into(), self.origin.as_str().into());
        attributes.insert("licence".into(), self.licence.as_str().into());
        attributes.insert("purposes".into(), texts(self.purposes.iter().map(Purpose::as_str).collect()));
        attributes.insert("tags".into(), texts(self.tags.iter().map(Tag::as_str).collect()));
        if let Some(creator) = &self.creator {
            attributes.insert("creator".into(), creator.as_str().into());
        }
        if !self.columns.is_empty() {
            attributes.insert("columns".into(), Value::Object(self.columns.clone()));
        }
        attributes
    }
}

/// `[[partner]]`: one organisation that we exchange data with.
#[derive(Debug, Clone, PartialEq)]
pub struct Partner {
    /// `id`, `country`, `type`, `membership`, `framework` and further facts, as in `[party]`. `id` is unique.
    pub party: Party,
    /// `endpoint`: its partner listener, `host:port`. Default: none, a partner without a gateway.
    pub endpoint: Option<Endpoint>,
    /// `names`: subject alternative names that its certificate may carry, `spiffe://...` or `dns:NAME`.
    /// Default: `["spiffe://<id>/gateway"]`.
    pub names: Vec<SanName>,
    /// `anchors`: PEM certificates of the authorities that may vouch for it, and for nobody else. Required.
    pub anchors: FileRef,
    /// `jwks`: the keys that sign its passes (RFC 7517). Required.
    pub jwks: FileRef,
    /// `log_key`: its log's verifier key in C2SP vkey form, or several during a rotation. Its checkpoints are witnessed
    /// under these. Optional.
    pub log_keys: Vec<String>,
    /// `witness_key`: the key that it cosigns with, in C2SP vkey form, or several. Optional.
    pub witness_keys: Vec<String>,
    /// `log_entries`: whether it may read the entries of our log. Default: false.
    pub log_entries: bool,
    /// `suspended`: whether it starts suspended. Default: false.
    pub suspended: bool,
    /// `signatures`: which of its messages have to be signed. Default: its answers.
    pub signatures: Signatures,
    /// `owed_at_most`: as in `[receipts]`, for this partner. Default: what stands there.
    pub owed_at_most: Option<usize>,
}

/// `[[agreement]]`: the papers under which a partner gets datasets.
#[derive(Debug, Clone, PartialEq)]
pub struct Agreement {
    /// `id`: what a pass names, unique among agreements. Required.
    pub id: String,
    /// `party`: the partner that signed it. Required.
    pub party: PartyId,
    /// `odrl`: a file with what was agreed, as an `odrl:Agreement` (ODRL 2.2), all of which is enforced. Default: none.
    pub odrl: Option<FileRef>,
    /// `datasets`: what it covers; at least one. Required without `odrl`, else by default all targets of its permissions
    /// (empty until that file is read).
    pub datasets: Vec<DatasetId>,
    /// `purposes`: what it covers them for. Default: every purpose that the datasets offer (`None`).
    pub purposes: Option<Vec<Purpose>>,
    /// `from`: the first day on which it holds, UTC, `YYYY-MM-DD`. Required without `odrl`; else [`Agreement::EVER`].
    pub from: String,
    /// `until`: the first day on which it no longer holds, UTC, `YYYY-MM-DD`. Required without `odrl`; else
    /// [`Agreement::NEVER`].
    pub until: String,
    /// `need_to_know` and `named`, where given: facts about the recipient that hold under this agreement only.
    pub recipient: Map<String, Value>,
    /// `[agreement.legal]`: free-form facts for the policy, such as `mechanism` or `licence_id`. Default: none.
    pub legal: Map<String, Value>,
}

impl Agreement {
    /// The `from` of an agreement whose dates its ODRL file gives.
    pub const EVER: &'static str = "0001-01-01";
    /// The `until` of an agreement whose dates its ODRL file gives.
    pub const NEVER: &'static str = "9999-12-31";

    /// Whether it holds on a day given as `YYYY-MM-DD`: `from` is the first such day, `until` the first that is not.
    pub fn holds_on(&self, date: &str) -> bool {
        self.from.as_str() <= date && date < self.until.as_str()
    }

    /// Whether it covers the dataset for the purpose.
    pub fn covers(&self, dataset: &DatasetId, purpose: &Purpose) -> bool {
        self.datasets.contains(dataset) && self.purposes.as_ref().is_none_or(|purposes| purposes.contains(purpose))
    }
}
