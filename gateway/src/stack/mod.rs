//! The one place that knows the order of things: what is started after what, and what stands around a request.

mod health;
mod log;
mod secrets;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use prometheus::Registry;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinHandle;

use crate::config::{Config, Limits};
use crate::exchange::{self, Cache, Front, Gateway, Positions, Sessions, Upstream};
use crate::policy::{Authenticator, Policies, RateLimiter};
use crate::protocol::ReadLimits;
use crate::relay::{
    self, Appender, DeadLetters, Deliveries, Dispatcher, Follower, Idempotency, Intake, Ownership, Redriver,
    Replies, Tasks,
};
use crate::schema::Schemas;
use crate::upstream::{self, Upstreams};
use crate::{admin, aggregate, edge};

/// Runs the gateway until `stop`; then drains it.
///
/// # Errors
/// What keeps it from starting, with the setting to mend.
pub async fn run(config: Config, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
    let began = Instant::now();
    let limits = Arc::new(config.limits.clone());
    // Sockets first: a taken port is told before anything else is touched.
    let public = edge::Server::bind(&config.public, &limits)?;
    let admin = admin::Server::bind(&config.admin).await?;
    let admin_url = format!("http://{}", admin.address());
    let registry = Registry::new();
    let store = log::open(&config.log).await?;
    let relay = Relay::start(&config, &store, &registry, &limits)?;
    let upstreams = Upstreams::start(&config, &upstream::Metrics::register(&registry)?)?;
    let gateway = Arc::new(gateway(
        &config,
        &registry,
        &relay,
        &upstreams,
        &limits,
        config.public.base_url(public.address()),
    )?);

    let joined = Arc::new(AtomicBool::new(false));
    let dispatcher = Dispatcher {
        deliveries: Arc::clone(&relay.intake.deliveries),
        caller: Arc::new(Upstream {
            worker: upstreams.worker(),
            tasks: Arc::clone(&relay.tasks),
            delivery: config.delivery.clone(),
        }),
        abandoned: Arc::clone(&relay.intake.abandoned),
        idempotency: Arc::new(Idempotency::new(Arc::clone(&relay.follower))),
        joined: Arc::clone(&joined),
    };
    let halt = Arc::new(Notify::new());
    let dispatching = tokio::spawn(dispatcher.join()?.run(Arc::clone(&halt)));
    let ownership = Arc::clone(&relay.intake.deliveries.ownership);
    // Of all replicas one writes results: the owner of the first partition.
    let office = Box::new(move || ownership.epoch_of(0));
    let stream = aggregate::Stream::start(store.log(), &config.prices, &registry, office)?;
    let mut site = site(&config, &registry, &store, &relay, &upstreams, &stream, began);
    site.checks.push(("dispatch", dispatching_check(joined)));
    site.checks.push(("tasks", tasks_check(Arc::clone(&relay.tasks))));
    let serving_admin = tokio::spawn(admin.serve(Arc::new(site)));

    let edge_metrics = edge::Metrics::register(&registry)?;
    let door = edge::DoorLayer::public(&config.public, public.address(), &limits, edge_metrics.clone());
    let base = Arc::clone(&gateway);
    let running = public.with_metrics(edge_metrics).serve(move |_worker| {
        // Outermost first. Host, origin and head are judged before anything of the request is used.
        tower::ServiceBuilder::new()
            .layer(door.clone())
            .service(Front::new(Arc::clone(&base), base.upstreams.worker()))
    })?;
    welcome(&config, &gateway.public_url, &admin_url);
    tracing::info!(public = %gateway.public_url, admin = %admin_url, took_ms = began.elapsed().as_millis() as u64, "serving");

    stop.await;
    tracing::info!("draining: no new connections, what is under way finishes");
    let drained = running.drain(limits.drain).await;
    tracing::info!(?drained, "the public listener is closed");
    stream.hold();
    halt.notify_one();
    if tokio::time::timeout(limits.drain, dispatching).await.is_err() {
        tracing::warn!("deliveries are still under way; the log knows them and the next start goes on");
    }
    let (deliveries, tasks) = (Arc::clone(&relay.intake.deliveries), Arc::clone(&relay.tasks));
    tokio::task::spawn_blocking(move || deliveries.appender.close().and(tasks.close())).await??;
    relay.reading.abort();
    relay.reading_tasks.abort();
    stream.stop().await;
    upstreams.shutdown().await;
    serving_admin.abort();
    store.close().await;
    tracing::info!("stopped");
    Ok(())
}

/// The durable hop, running.
struct Relay {
    intake: Intake,
    tasks: Arc<Tasks>,
    follower: Arc<Follower>,
    reading: JoinHandle<()>,
    reading_tasks: JoinHandle<()>,
}

impl Relay {
    fn start(
        config: &Config,
        store: &log::Store,
        registry: &Registry,
        limits: &Limits,
    ) -> anyhow::Result<Self> {
        let metrics = Arc::new(relay::Metrics::register(registry)?);
        let log = store.log().clone();
        let acknowledge = config.log.acknowledge;
        let ownership = Arc::new(Ownership::new(log.partitions(), config.delivery.short_cuts));
        let (replies, consumer) = Replies::start(&log, Arc::clone(&ownership), Arc::clone(&metrics))?;
        let appender = Appender::new(
            log.clone(),
            limits.queue_records,
            limits.queue_bytes,
            acknowledge,
            &relay::Listeners { replies: Arc::clone(&replies), ownership: Arc::clone(&ownership) },
            Arc::clone(&metrics),
        )?;
        let reading = tokio::spawn(Arc::clone(&replies).run(consumer));
        let (tasks, reader) =
            Tasks::start(&log, &replies, limits.tasks, config.log.task_retention, &metrics)?;
        let reading_tasks = tokio::spawn(Arc::clone(&tasks).run(reader));
        let follower = Follower::new(&log, &replies)?;
        let letters = Arc::new(DeadLetters::new(&log, Arc::clone(&metrics))?);
        let deliveries =
            Deliveries::new(Arc::new(appender), replies, ownership, letters, metrics, limits.in_flight);
        let intake = Intake { deliveries: Arc::new(deliveries), abandoned: Arc::default() };
        Ok(Self { intake, tasks, follower, reading, reading_tasks })
    }
}

fn gateway(
    config: &Config,
    registry: &Registry,
    relay: &Relay,
    upstreams: &Arc<Upstreams>,
    limits: &Arc<Limits>,
    public_url: String,
) -> anyhow::Result<Gateway> {
    let keys = secrets::Keys::of(config)?;
    let policy_metrics = Arc::new(crate::policy::Metrics::register(registry)?);
    Ok(Gateway {
        authenticator: Authenticator::new(&config.identity)?.with_metrics(Arc::clone(&policy_metrics)),
        policies: Policies::load(config.policies.as_deref())?.with_metrics(Arc::clone(&policy_metrics)),
        limiter: RateLimiter::new(limits.rate).with_metrics(policy_metrics),
        schemas: Schemas::compile()?,
        intake: relay.intake.clone(),
        follower: Arc::clone(&relay.follower),
        positions: Positions::new(keys.positions),
        tasks: Arc::clone(&relay.tasks),
        upstreams: Arc::clone(upstreams),
        agents: config.agents.iter().map(|(name, agent)| (name.clone(), agent.timeouts)).collect(),
        servers: config.servers.iter().map(|(name, server)| (name.clone(), server.timeouts)).collect(),
        sessions: Arc::new(Sessions::new(keys.sessions, limits.sessions)),
        names: Cache::default(),
        metrics: Arc::new(exchange::Metrics::register(registry)?),
        delivery: config.delivery.clone(),
        read_limits: ReadLimits::from(&**limits),
        prefix: config.mcp.prefix,
        public_url,
        room: Arc::new(Semaphore::new(limits.in_flight)),
        background: tokio::runtime::Handle::current(),
        limits: Arc::clone(limits),
    })
}

/// What the admin listener shows.
fn site(
    config: &Config,
    registry: &Registry,
    store: &log::Store,
    relay: &Relay,
    upstreams: &Arc<Upstreams>,
    stream: &aggregate::Stream,
    started: Instant,
) -> admin::Site {
    let live = stream.handle();
    let ready = live.clone();
    let upstreams = Arc::clone(upstreams);
    admin::Site {
        registry: registry.clone(),
        checks: vec![("log", store.health()), ("stream", Arc::new(move || ready.ready()))],
        started,
        log: store.log().clone(),
        promise: store.promise,
        prefix: config.log.prefix.clone(),
        prices: config.prices.clone(),
        upstreams: Arc::new(move || health::of(&upstreams.health())),
        live,
        tasks: Arc::clone(&relay.tasks),
        follower: Arc::clone(&relay.follower),
        redriver: Redriver::new(Arc::clone(&relay.intake.deliveries.letters)),
        searches: Arc::new(Semaphore::new(admin::Site::SEARCHES)),
    }
}

fn dispatching_check(joined: Arc<AtomicBool>) -> admin::Check {
    Arc::new(move || match joined.load(Ordering::Acquire) {
        true => Ok(()),
        false => Err("no partition of the requests is assigned to this gateway yet".to_owned()),
    })
}

fn tasks_check(tasks: Arc<Tasks>) -> admin::Check {
    Arc::new(move || match tasks.is_loaded() {
        true => Ok(()),
        false => Err("the tasks on the log are still being read".to_owned()),
    })
}

fn welcome(config: &Config, public: &str, admin: &str) {
    if let Some(text) = &config.welcome {
        println!("{}", text.replace("{public}", public).replace("{admin}", admin).trim_end());
    }
}
