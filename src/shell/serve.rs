//! Running a gateway: from a configuration file to open listeners, and back down again.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::task::JoinSet;

use super::admin::AdminSide;
use super::assemble;
use super::config::{Config, Limits};
use super::policies::{Kept, Policies};
use super::receipts::Postman;
use super::state::State;
use super::timestamps::{Board, Stamper, TimestampsSetup};
use super::witnesses::{KeptWitnesses, Witnesses};
use crate::accept::{self, Drain, Listener};
use crate::gateway::{Gateway, LocalSide, PartnerSide};
use crate::types::{Clock, SystemClock};

/// What is cut at the end of a drain still has its outcome to tell: its tasks need a turn each, and a log that has
/// fallen behind some room in its queue.
const SETTLE: Duration = Duration::from_secs(5);

/// Where a running gateway listens.
#[derive(Debug, Clone, Copy)]
pub struct Addresses {
    /// The partner listener.
    pub partner: SocketAddr,
    /// The local listener, if there is one.
    pub local: Option<SocketAddr>,
    /// The admin listener, if there is one.
    pub admin: Option<SocketAddr>,
}

/// Where to listen, and within which limits.
#[derive(Debug, Clone)]
pub struct Listening {
    /// The partner listener; port 0 takes a free one.
    pub partner: SocketAddr,
    /// The local listener.
    pub local: Option<SocketAddr>,
    /// The admin listener.
    pub admin: Option<SocketAddr>,
    /// Limits of each of them.
    pub limits: accept::Limits,
    /// How long exchanges in flight may take to finish once the gateway drains.
    pub drain: Duration,
}

/// A gateway with its listeners open.
pub struct Running {
    gateway: Arc<Gateway>,
    addresses: Addresses,
    drain: Drain,
    listeners: JoinSet<()>,
    policies: Arc<Kept>,
    witnesses: KeptWitnesses,
    stamper: Stamper,
    timestamps: Board,
    postman: Postman,
}

impl Running {
    /// Opens the listeners on the current runtime, for a gateway whose policies come from no source.
    ///
    /// # Errors
    /// When an address cannot be bound or our certificate and key do not fit.
    pub fn start(gateway: Arc<Gateway>, state: Arc<State>, listening: &Listening) -> Result<Self> {
        Self::start_with(gateway, state, Kept::fixed(), listening)
    }

    /// Opens the listeners on the current runtime; `policies` are those of the gateway, and are kept until it stops.
    ///
    /// # Errors
    /// As [`Running::start`].
    pub fn start_with(gateway: Arc<Gateway>, state: Arc<State>, policies: Kept, listening: &Listening) -> Result<Self> {
        let policies = Arc::new(policies);
        let timestamps = Board::default();
        // Before anybody can ask: what is owed decides who is served.
        Postman::recall(&gateway)?;
        let drain = Drain::new();
        let mut listeners = JoinSet::new();
        let limits = &listening.limits;
        let deadline = listening.drain;
        let partner = Listener::bind(listening.partner, Some(gateway.partner_tls()?), limits.clone())?;
        let local = listening.local.map(|address| Listener::bind(address, None, limits.clone())).transpose()?;
        let admin = match listening.admin {
            Some(address) => Some(Listener::bind(address, Some(gateway.admin_tls()?), limits.clone())?),
            None => None,
        };
        let addresses = Addresses {
            partner: partner.address(),
            local: local.as_ref().map(Listener::address),
            admin: admin.as_ref().map(Listener::address),
        };
        listeners.spawn(partner.serve(Arc::new(PartnerSide(Arc::clone(&gateway))), drain.clone(), deadline));
        if let Some(local) = local {
            listeners.spawn(local.serve(Arc::new(LocalSide(Arc::clone(&gateway))), drain.clone(), deadline));
        }
        if let Some(admin) = admin {
            let (policies, timestamps) = (Arc::clone(&policies), timestamps.clone());
            let side = AdminSide::new(Arc::clone(&gateway), state, policies, timestamps, drain.clone());
            listeners.spawn(admin.serve(Arc::new(side), drain.clone(), deadline));
        }
        let postman = Postman::start(&gateway);
        let (witnesses, stamper) = (KeptWitnesses::none(), Stamper::none());
        Ok(Self { gateway, addresses, drain, listeners, policies, witnesses, stamper, timestamps, postman })
    }

    /// Takes the log's checkpoints to its witnesses from now on.
    ///
    /// # Errors
    /// When the files of cosigned checkpoints cannot be opened.
    pub fn witnessed(mut self, witnesses: Witnesses) -> Result<Self> {
        self.witnesses = witnesses.keep(&self.gateway)?;
        Ok(self)
    }

    /// Has the log's checkpoints stamped by an outside authority from now on.
    ///
    /// # Errors
    /// When the timestamps that are kept already cannot be listed.
    pub fn stamped(mut self, setup: TimestampsSetup) -> Result<Self> {
        self.stamper = Stamper::start(&self.gateway, setup, self.timestamps.clone())?;
        Ok(self)
    }

    /// Where it listens.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// The gateway.
    pub fn gateway(&self) -> &Arc<Gateway> {
        &self.gateway
    }

    /// Drains: no new connections, exchanges in flight finish or are cut at the deadline, the log is closed once each of
    /// them has told its outcome.
    ///
    /// # Errors
    /// When the log could not be closed properly.
    pub async fn stop(mut self) -> Result<()> {
        self.drain.begin();
        self.policies.stop();
        self.postman.stop();
        while self.listeners.join_next().await.is_some() {}
        // HTTP/2 runs each exchange in a task of its own, which outlives its connection by a little.
        if tokio::time::timeout(SETTLE, self.gateway.settled()).await.is_err() {
            tracing::error!("exchanges were left without an outcome; the next start closes them as unknown");
        }
        // The log's files are its own until it is closed, and anybody's after that.
        self.witnesses.stop().await;
        self.stamper.stop().await;
        let closed = self.gateway.log().close().await.context("closing the log");
        if let Some(inputs) = self.gateway.inputs().cloned() {
            // What waits for a disk is not worth holding up the end for, but the last inputs are written if they can be.
            let _ = tokio::time::timeout(SETTLE, tokio::task::spawn_blocking(move || inputs.close())).await;
        }
        if let Some(subjects) = self.gateway.subjects().cloned() {
            let _ = tokio::time::timeout(SETTLE, tokio::task::spawn_blocking(move || subjects.close())).await;
        }
        closed
    }
}

/// `sekisho serve`: runs until SIGTERM or SIGINT.
///
/// # Errors
/// Anything that keeps the gateway from starting, in words.
pub fn serve(config: &Path) -> Result<()> {
    let resolved = assemble::load(config)?;
    let workers = resolved.config.limits.workers;
    // Also for one worker: the current-thread runtime takes a system call for each exchange that the log's thread wakes,
    // this one takes one for all that a sync wakes.
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if workers > 0 {
        runtime.worker_threads(workers);
    }
    let runtime = runtime.enable_all().build().context("starting the runtime")?;
    let served = runtime.block_on(async {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        for warning in assemble::warnings(&resolved.config) {
            tracing::warn!("{warning}");
        }
        let listening = listening(&resolved.config);
        let state_directory = resolved.state_directory.clone();
        let (policies, set) = Policies::open(assemble::policies(&resolved)?, Arc::clone(&clock)).await?;
        let witnesses = assemble::witnesses(&resolved, &clock)?;
        let timestamps = assemble::timestamps(&resolved)?;
        let signer = assemble::signer(&resolved)?;
        witnesses.ask_at_start(&resolved.record_directory, &signer).await?;
        let setup = assemble::setup(resolved, set, clock, witnesses.standing())?;
        let gateway = Gateway::assemble(setup)?;
        let state = Arc::new(State::open(&state_directory, &gateway)?);
        let policies = policies.keep(&gateway);
        let mut running = Running::start_with(gateway, state, policies, &listening)?.witnessed(witnesses)?;
        if let Some(timestamps) = timestamps {
            running = running.stamped(timestamps)?;
        }
        let at = running.addresses();
        tracing::info!(
            party = %running.gateway().us(),
            partner = %at.partner,
            local = at.local.map(tracing::field::display),
            admin = at.admin.map(tracing::field::display),
            "serving"
        );
        wait_for_signal().await?;
        tracing::info!("draining");
        running.stop().await?;
        tracing::info!("stopped");
        Ok(())
    });
    // A bundle may still be being tried. Nothing waits for that any more.
    runtime.shutdown_background();
    served
}

/// The listening part of a configuration.
pub fn listening(config: &Config) -> Listening {
    let Limits { connections, head_bytes, headers, handshake, request_head, drain, .. } = config.limits;
    Listening {
        partner: config.listen.partner,
        local: config.listen.local,
        admin: config.listen.admin,
        limits: accept::Limits {
            connections,
            head_bytes,
            headers,
            handshake,
            head: request_head,
            ..accept::Limits::default()
        },
        drain,
    }
}

async fn wait_for_signal() -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
    tokio::select! {
        got = terminate.recv() => if got.is_none() { bail!("SIGTERM cannot be listened for any more") },
        got = interrupt.recv() => if got.is_none() { bail!("SIGINT cannot be listened for any more") },
    }
    Ok(())
}
