//! What a seed stands for: commands with the times at which they are sent, and faults with theirs. Pure; the same seed
//! gives the same schedule.

use std::fmt;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use sailhand::failpoint::Step;

/// All of a schedule's commands are sent, and its faults begin, within this time.
const SPAN: u64 = 1500;

/// See the module.
#[derive(Debug, Clone)]
pub struct Schedule {
    pub seed: u64,
    pub installations: Vec<Installation>,
    pub commands: Vec<Planned>,
    pub faults: Vec<(Duration, Fault)>,
    /// Delay of every request to the API server, so that tasks are long enough to be hit.
    pub slowness: Duration,
}

/// What commands write to.
#[derive(Debug, Clone)]
pub struct Installation {
    /// Index into the targets.
    pub target: usize,
    pub objects: usize,
    /// Commands carry generations.
    pub ordered: bool,
}

/// A command and how it is sent.
#[derive(Debug, Clone)]
pub struct Planned {
    pub what: What,
    /// When each copy is sent.
    pub sent: Vec<Duration>,
    pub generation: Option<u64>,
    /// From the first copy on.
    pub expiry: Option<Duration>,
    /// When its cancellation is asked for.
    pub cancel: Option<Duration>,
    /// It has the id of the command before it, from another source.
    pub same_id: bool,
}

/// What a command does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    Ping,
    /// All objects of an installation, or all but the last.
    Apply {
        installation: usize,
        shrunk: bool,
        /// With a Deployment that takes a moment to be ready, and a wait for it.
        wait: bool,
    },
    /// The whole installation.
    Delete {
        installation: usize,
    },
    /// Refused after it was taken, which leaves a dead letter.
    Refused,
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// kill -9 of the first worker to reach the step.
    KillAt(Step),
    /// SIGSTOP of it past its lease, then SIGCONT.
    StopAt(Step),
    /// kill -9 of some worker.
    Kill,
    /// SIGSTOP of some worker past its lease, then SIGCONT.
    Stop,
    /// SIGTERM, one worker after the other.
    Roll,
    /// kill -9 of the nats-server, and a restart with the same store.
    RestartBus(Duration),
    /// SIGSTOP of the nats-server, then SIGCONT.
    PauseBus(Duration),
    /// A worker's connection to the bus.
    BusLink(Trouble, Duration),
    /// A worker's connection to the API server.
    ClusterLink(Trouble, Duration),
    /// The API server answers all workers with this status to a part of the requests.
    Refuse { status: u16, after: Option<u32>, percent: u32, lasts: Duration },
    /// All watches end.
    CutWatches,
}

/// Of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    Slow,
    Deaf,
    Cut,
    LosesAnswer,
}

impl Fault {
    /// For counting.
    pub fn kind(&self) -> String {
        match self {
            Self::KillAt(step) => format!("kill at {}", step.name()),
            Self::StopAt(step) => format!("stop at {}", step.name()),
            Self::Kill => "kill at random".to_owned(),
            Self::Stop => "stop at random".to_owned(),
            Self::Roll => "rolling restart".to_owned(),
            Self::RestartBus(_) => "nats-server killed".to_owned(),
            Self::PauseBus(_) => "nats-server paused".to_owned(),
            Self::BusLink(trouble, _) => format!("bus connection: {trouble:?}"),
            Self::ClusterLink(trouble, _) => format!("API connection: {trouble:?}"),
            Self::Refuse { status, .. } => format!("API answers {status}"),
            Self::CutWatches => "watches cut".to_owned(),
        }
    }

    /// A process may die or be taken for dead under a command.
    const fn counts_as_death(&self) -> bool {
        matches!(self, Self::KillAt(_) | Self::StopAt(_) | Self::Kill | Self::Stop)
    }
}

impl Schedule {
    /// The schedule of a seed.
    pub fn of(seed: u64) -> Self {
        let mut random = SmallRng::seed_from_u64(seed);
        let step = Step::ALL[usize::try_from(seed).unwrap_or(0) % Step::ALL.len()];
        let faults = faults(&mut random, step);
        let aimed = |wanted| {
            faults
                .iter()
                .any(|(_, fault)| matches!(fault, Fault::KillAt(step) | Fault::StopAt(step) if *step == wanted))
        };
        let installations: Vec<_> = (0..random.random_range(1..=3))
            .map(|_| Installation {
                target: random.random_range(0..2),
                objects: random.random_range(2..=4),
                ordered: random.random_bool(0.5),
            })
            .collect();
        let mut commands: Vec<_> =
            (0..random.random_range(3..=8)).map(|number| command(&mut random, &installations, number)).collect();
        if aimed(Step::DeadLettered) || random.random_bool(0.1) {
            commands.push(plain(&mut random, What::Refused));
        }
        if aimed(Step::Removing) {
            let first = What::Apply { installation: 0, shrunk: false, wait: false };
            let second = What::Apply { installation: 0, shrunk: true, wait: false };
            commands.push(Planned { sent: vec![Duration::ZERO], ..plain(&mut random, first) });
            commands.push(Planned { sent: vec![Duration::from_millis(SPAN)], ..plain(&mut random, second) });
        }
        number_generations(&mut random, &installations, &mut commands);
        let slowness = Duration::from_millis(if random.random_bool(0.5) { random.random_range(10..80) } else { 0 });
        Self { seed, installations, commands, faults, slowness }
    }

    /// Signals that may make a live or dead worker's attempt count as a crash.
    pub fn deaths(&self) -> usize {
        self.faults.iter().filter(|(_, fault)| fault.counts_as_death()).count()
    }

    /// Whether the API server refuses credentials, which ends commands.
    pub fn refuses_credentials(&self) -> bool {
        self.faults.iter().any(|(_, fault)| matches!(fault, Fault::Refuse { status: 401, .. }))
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}: API delay {:?}", self.seed, self.slowness)?;
        for (number, installation) in self.installations.iter().enumerate() {
            writeln!(f, "  installation {number}: {installation:?}")?;
        }
        for (number, command) in self.commands.iter().enumerate() {
            writeln!(f, "  command {number}: {command:?}")?;
        }
        for (at, fault) in &self.faults {
            writeln!(f, "  at {at:?}: {fault:?}")?;
        }
        Ok(())
    }
}

fn at(random: &mut SmallRng) -> Duration {
    Duration::from_millis(random.random_range(0..SPAN))
}

fn lasts(random: &mut SmallRng) -> Duration {
    Duration::from_millis(random.random_range(200..2500))
}

fn faults(random: &mut SmallRng, step: Step) -> Vec<(Duration, Fault)> {
    let mut faults = Vec::new();
    // Three in four schedules go for one step, each step in its turn.
    if random.random_bool(0.75) {
        let fault = if random.random_bool(0.75) { Fault::KillAt(step) } else { Fault::StopAt(step) };
        // From the start half of the time, later in the other.
        let begin = if random.random_bool(0.5) { Duration::ZERO } else { at(random) };
        faults.push((begin, fault));
        if step == Step::Retried {
            let lasts = Duration::from_secs(1);
            faults.push((Duration::ZERO, Fault::Refuse { status: 500, after: None, percent: 60, lasts }));
        }
    }
    for _ in 0..random.random_range(0..=2) {
        let fault = fault(random);
        let deaths = faults.iter().filter(|(_, fault): &&(_, Fault)| fault.counts_as_death()).count();
        // Three deaths under one command put it aside, and rightly so.
        if deaths < 2 || !fault.counts_as_death() {
            faults.push((at(random), fault));
        }
    }
    faults
}

fn fault(random: &mut SmallRng) -> Fault {
    let trouble = [Trouble::Slow, Trouble::Deaf, Trouble::Cut, Trouble::LosesAnswer][random.random_range(0..4)];
    match random.random_range(0..100) {
        0..18 => Fault::Kill,
        18..30 => Fault::Stop,
        30..38 => Fault::Roll,
        38..44 => Fault::RestartBus(Duration::from_millis(random.random_range(0..1500))),
        44..50 => Fault::PauseBus(lasts(random)),
        50..64 => Fault::BusLink(trouble, lasts(random)),
        64..78 => Fault::ClusterLink(trouble, lasts(random)),
        78..82 => Fault::CutWatches,
        82..84 => Fault::Refuse { status: 401, after: None, percent: 50, lasts: lasts(random) },
        _ => Fault::Refuse {
            status: [429, 500, 502, 503, 504][random.random_range(0..5)],
            after: random.random_bool(0.3).then_some(1),
            percent: random.random_range(20..=100),
            lasts: lasts(random),
        },
    }
}

fn plain(random: &mut SmallRng, what: What) -> Planned {
    Planned { what, sent: vec![at(random)], generation: None, expiry: None, cancel: None, same_id: false }
}

fn command(random: &mut SmallRng, installations: &[Installation], number: usize) -> Planned {
    let what = if random.random_bool(0.15) {
        What::Ping
    } else {
        let installation = random.random_range(0..installations.len());
        What::Apply { installation, shrunk: random.random_bool(0.2), wait: random.random_bool(0.1) }
    };
    let mut command = plain(random, what);
    let copies = match random.random_range(0..100) {
        0..70 => 1,
        70..95 => random.random_range(2..=8),
        _ => 50,
    };
    for _ in 1..copies {
        // Before, during and after: some long after the first is done.
        let latest = if random.random_bool(0.2) { SPAN * 3 } else { SPAN };
        command.sent.push(Duration::from_millis(random.random_range(0..latest)));
    }
    command.sent.sort();
    if random.random_bool(0.08) {
        command.expiry = Some(Duration::from_millis(random.random_range(0..2500)));
    }
    if random.random_bool(0.1) {
        command.cancel = Some(at(random));
    }
    command.same_id = number > 0 && random.random_bool(0.08);
    command
}

/// Ordered installations get generations in a random order; the newest is a deletion now and then.
fn number_generations(random: &mut SmallRng, installations: &[Installation], commands: &mut [Planned]) {
    for (number, _) in installations.iter().enumerate().filter(|(_, one)| one.ordered) {
        let mut own: Vec<&mut Planned> = commands
            .iter_mut()
            .filter(|command| matches!(command.what, What::Apply { installation, .. } if installation == number))
            .collect();
        let mut generations: Vec<u64> = (1..=own.len() as u64).collect();
        for index in (1..generations.len()).rev() {
            generations.swap(index, random.random_range(0..=index));
        }
        let newest = own.len() as u64;
        let delete = random.random_bool(0.15);
        for (command, generation) in own.iter_mut().zip(generations) {
            command.generation = Some(generation);
            if generation == newest && delete {
                command.what = What::Delete { installation: number };
            }
        }
    }
}
