//! Faults at random on many scripted servers and a real one, for as long as asked: what the agent
//! holds of memory and descriptors stays flat, and in the end all are up.

use std::thread;
use std::time::Duration;

use dbvitals_probe::Clock;
use dbvitals_testkit::{MariaDb, MariaDbOptions, RealServer as _, eventually, require_servers};

use crate::agent::PATIENCE;
use crate::number;
use crate::site::{FLEETS, Site};

const BACKENDS: usize = 400;
/// How long the soak of the suite takes; one of half an hour finds more.
const SECONDS: u64 = 30;
/// How much more memory may be resident in the end than after the first third, by which everything has
/// had each of its faults: what an allocator's noise comes to.
const GROWTH_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Descriptors that come and go: an HTTP connection of ours, a name that is looked up.
const DESCRIPTORS_NOISE: u64 = 8;

/// Paces at which much happens in little time, and a history that is written.
const QUICK: &str = "[defaults]\ninterval = \"200ms\"\ntimeout = \"200ms\"\nfast_interval = \"50ms\"\n\
    down_interval = \"200ms\"\nfresh_interval = \"2s\"\nstale_after = \"2s\"\n";

#[test]
fn a_soak_of_faults_leaves_memory_and_descriptors_as_they_were() {
    require_servers!();
    let seconds = number("DBVITALS_SOAK_FOR").unwrap_or(SECONDS);
    let seed = number("DBVITALS_SOAK_SEED").unwrap_or(1);
    let real = MariaDb::start(MariaDbOptions::default());
    let url = format!("mysql://vitals@{}", real.address());
    let section = format!("{QUICK}[backend.real]\nurl = \"{url}\"\n");
    let mut soak = Soak {
        site: Site::start(BACKENDS, &section),
        real,
        rng: fastrand::Rng::with_seed(seed),
        clock: Clock::start(),
    };
    println!("{seconds} s, seed {seed}");
    let third = Duration::from_secs(seconds) / 3;
    soak.torment(third);
    let early = soak.calm();
    soak.torment(third);
    soak.calm();
    soak.torment(third);
    let late = soak.calm();
    assert!(
        late.resident <= early.resident + GROWTH_BYTES_MAX,
        "memory grows: {early:?}, {late:?}"
    );
    assert!(
        late.descriptors <= early.descriptors + DESCRIPTORS_NOISE,
        "descriptors leak: {early:?}, {late:?}"
    );
}

/// The servers and the agent.
struct Soak {
    site: Site,
    real: MariaDb,
    rng: fastrand::Rng,
    clock: Clock,
}

/// What the agent holds when all is well.
#[derive(Debug)]
struct Holdings {
    resident: u64,
    descriptors: u64,
}

impl Soak {
    /// One fault after the other, each for a moment, several at a time.
    fn torment(&mut self, duration: Duration) {
        let until = self.clock.now() + duration;
        let mut crashed = [false; FLEETS];
        while self.clock.now() < until {
            let number = self.rng.usize(0..FLEETS);
            let fleet = &mut self.site.fleets[number];
            match self.rng.u32(0..6) {
                _ if crashed[number] => {
                    fleet.come_back();
                    crashed[number] = false;
                }
                0 => {
                    fleet.crash();
                    crashed[number] = true;
                }
                1 => fleet.freeze(),
                2 => fleet.end_sessions(),
                _ => fleet.thaw(),
            }
            if self.rng.u32(0..20) == 0 {
                self.torment_the_real_one();
            }
            let asked = ["/metrics", "/api/v1/backends", "/health/real?fresh=true"];
            self.site.agent.request("GET", asked[self.rng.usize(0..3)]);
            thread::sleep(Duration::from_millis(self.rng.u64(5..80)));
        }
        for (number, fleet) in self.site.fleets.iter_mut().enumerate() {
            match crashed[number] {
                true => fleet.come_back(),
                false => fleet.thaw(),
            }
        }
    }

    fn torment_the_real_one(&mut self) {
        let moment = Duration::from_millis(self.rng.u64(50..800));
        match self.rng.u32(0..3) {
            0 => {
                self.real.freeze();
                thread::sleep(moment);
                self.real.thaw();
            }
            1 => {
                self.real.kill();
                thread::sleep(moment);
                self.real.start_again();
            }
            _ => self.real.kill_all_sessions(),
        }
    }

    /// Waits until all is well, and looks what the agent holds then.
    fn calm(&self) -> Holdings {
        self.site.wait_for_all("up");
        self.site.agent.wait_for_verdict("real", "up");
        // What is being left is gone within its second; sessions are held again.
        let held = |site: &Site| site.vital("descriptors");
        let mut before = held(&self.site);
        eventually(PATIENCE, || {
            thread::sleep(Duration::from_secs(1));
            let after = held(&self.site);
            let settled = after.abs_diff(before) <= 1;
            before = after;
            settled
        });
        let holdings = Holdings {
            resident: self.site.vital("resident_bytes"),
            descriptors: before,
        };
        println!(
            "  {} probes, {} stalls: {holdings:?}",
            self.site.vital("probes"),
            self.site.vital("stalls")
        );
        holdings
    }
}
