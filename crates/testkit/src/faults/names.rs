//! A name service of a scene's own, and the surroundings in which a program asks it.
//!
//! The responder answers on port 53 of a loopback address that no other scene uses. The program
//! runs in a mount namespace whose `/etc/hosts`, `/etc/resolv.conf` and `/etc/nsswitch.conf` lead
//! there, so `getaddrinfo` itself is tested. Both need root; [`names_available`] says whether.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::guardian::Guardian;
use crate::shared::Port;

/// The one name that is known.
pub(super) const HOST: &str = "db.test";

/// Run in a mount namespace of its own, with the directory of the files before the command.
const ENTER: &str = r#"
for file in hosts resolv.conf nsswitch.conf; do
    mount --bind "$0/$file" "/etc/$file" || exit 125
done
exec "$@""#;

/// What the name service does.
#[derive(Clone, Copy, Debug)]
pub(super) enum Service {
    /// Answers with this address.
    Knows(Ipv4Addr),
    /// Answers with this address, so much later.
    KnowsLate(Ipv4Addr, Duration),
    /// Answers that it failed (SERVFAIL).
    Fails,
    /// Does not answer.
    Silent,
}

/// A running name service.
#[derive(Debug)]
pub(super) struct Names {
    service: Arc<Mutex<Service>>,
    socket: Arc<UdpSocket>,
    address: SocketAddr,
    responder: Option<JoinHandle<()>>,
    files: Guardian,
    _number: Port,
}

impl Names {
    pub(super) fn start(service: Service) -> Self {
        let number = Port::reserve();
        let [high, low] = number.number().to_be_bytes();
        let address = SocketAddr::from((Ipv4Addr::new(127, 53, high, low), 53));
        let socket = Arc::new(UdpSocket::bind(address).expect("root may take port 53"));
        let service = Arc::new(Mutex::new(service));
        let (asked, told) = (Arc::clone(&socket), Arc::clone(&service));
        let files = Guardian::new();
        for (name, text) in [
            ("hosts", "127.0.0.1 localhost\n".to_owned()),
            ("resolv.conf", format!("nameserver {}\n", address.ip())),
            ("nsswitch.conf", "hosts: files dns\n".to_owned()),
        ] {
            fs::write(files.directory().join(name), text)
                .expect("a guardian's directory can be written");
        }
        Self {
            service,
            socket,
            address,
            responder: Some(thread::spawn(move || respond(&asked, &told))),
            files,
            _number: number,
        }
    }

    pub(super) fn switch(&self, service: Service) {
        *self.service.lock().unwrap_or_else(PoisonError::into_inner) = service;
    }

    /// The words before a program that let it ask this service.
    pub(super) fn surroundings(&self) -> Vec<String> {
        let directory = self.files.directory().display().to_string();
        let words = ["unshare", "--mount", "/bin/sh", "-c", ENTER];
        let mut words: Vec<String> = words.map(str::to_owned).into();
        words.push(directory);
        words
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        // A word of nothing ends the responder.
        let _ = self.socket.send_to(&[], self.address);
        if let Some(responder) = self.responder.take() {
            let _ = responder.join();
        }
    }
}

/// Says whether a program can be given a name service of its own, and if not, why.
pub(super) fn names_available() -> Result<(), String> {
    let entered = Command::new("unshare")
        .args(["--mount", "/bin/true"])
        .output()
        .is_ok_and(|output| output.status.success());
    let bound = UdpSocket::bind((Ipv4Addr::new(127, 53, 0, 1), 53)).is_ok();
    match entered && bound {
        true => Ok(()),
        false => Err("needs root, for a mount namespace and port 53 of loopback".to_owned()),
    }
}

fn respond(socket: &UdpSocket, service: &Mutex<Service>) {
    let mut question = [0; 512];
    while let Ok((length, client)) = socket.recv_from(&mut question) {
        if length == 0 {
            return;
        }
        let service = *service.lock().unwrap_or_else(PoisonError::into_inner);
        if let Service::KnowsLate(_, delay) = service {
            thread::sleep(delay);
        }
        if let Some(answer) = answer(&question[..length], service) {
            // A client that is gone has no use for it.
            let _ = socket.send_to(&answer, client);
        }
    }
}

/// Answers a question of the DNS; `None` where nothing is said.
fn answer(question: &[u8], service: Service) -> Option<Vec<u8>> {
    const HEAD: usize = 12;
    const TYPE_A: [u8; 2] = [0, 1];
    const SERVFAIL: u8 = 2;
    let address = match service {
        Service::Knows(address) | Service::KnowsLate(address, _) => Some(address),
        Service::Fails => None,
        Service::Silent => return None,
    };
    let body = question.get(HEAD..)?;
    // The name ends with an empty label; its type and class follow.
    let name = body.iter().position(|byte| *byte == 0)? + 1;
    let asked = body.get(..name + 4)?;
    let is_a = asked.get(name..name + 2) == Some(&TYPE_A);
    let address = address.filter(|_| is_a);
    let failed = if matches!(service, Service::Fails) {
        SERVFAIL
    } else {
        0
    };
    let mut answer = question.get(..2)?.to_vec();
    answer.extend([0x81, 0x80 | failed, 0, 1, 0, u8::from(address.is_some())]);
    answer.extend([0; 4]);
    answer.extend(asked);
    if let Some(address) = address {
        // The name above, type A, class IN, no time to live, four bytes.
        answer.extend([0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
        answer.extend(address.octets());
    }
    Some(answer)
}

#[cfg(test)]
mod tests {
    use super::{Service, answer};

    /// `db.test`, one question of this type.
    fn question(kind: u8) -> Vec<u8> {
        let head = [7, 9, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        [&head[..], b"\x02db\x04test\0", &[0, kind, 0, 1]].concat()
    }

    #[test]
    fn an_address_is_told_to_who_asks_for_one() {
        let service = Service::Knows([127, 0, 0, 9].into());
        let told = answer(&question(1), service).unwrap();
        assert_eq!(&told[..8], [7, 9, 0x81, 0x80, 0, 1, 0, 1]);
        assert!(told.ends_with(&[0, 4, 127, 0, 0, 9]));
        let told = answer(&question(28), service).unwrap();
        assert_eq!(told[7], 0, "no IPv6 address");
    }

    #[test]
    fn a_failing_service_says_so_and_a_silent_one_nothing() {
        assert_eq!(answer(&question(1), Service::Fails).unwrap()[3], 0x82);
        assert_eq!(answer(&question(1), Service::Silent), None);
        assert_eq!(answer(b"short", Service::Fails), None);
    }
}
