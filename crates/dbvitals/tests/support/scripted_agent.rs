//! An agent that is none: it answers each path of the API with what a test has put there.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

/// Answers until it is dropped; what is not there is 404.
#[derive(Debug)]
pub(crate) struct ScriptedAgent {
    address: SocketAddr,
    stage: Arc<Stage>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Stage {
    answers: Mutex<BTreeMap<String, String>>,
    ending: AtomicBool,
}

impl ScriptedAgent {
    /// Answers these paths, whatever is asked of them after a question mark.
    pub(crate) fn start(answers: &[(&str, &str)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("it has an address");
        let stage = Arc::new(Stage::default());
        let own = Arc::clone(&stage);
        let acceptor = thread::spawn(move || accept(&listener, &own));
        let agent = Self {
            address,
            stage,
            acceptor: Some(acceptor),
        };
        for (path, body) in answers {
            agent.answer(path, body);
        }
        agent
    }

    /// Answers a path with this from now on.
    pub(crate) fn answer(&self, path: &str, body: &str) {
        let mut answers = self.stage.answers.lock().expect("nobody panicked");
        answers.insert(path.to_owned(), body.to_owned());
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for ScriptedAgent {
    fn drop(&mut self) {
        self.stage.ending.store(true, Ordering::Relaxed);
        // Wakes the acceptor.
        let _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

fn accept(listener: &TcpListener, stage: &Stage) {
    for stream in listener.incoming().flatten() {
        if stage.ending.load(Ordering::Relaxed) {
            return;
        }
        // One client after the other; each goes when it has been told.
        let _ = serve(&stream, stage);
        let _ = stream.shutdown(Shutdown::Both);
    }
}

fn serve(mut stream: &TcpStream, stage: &Stage) -> std::io::Result<()> {
    let mut requests = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if requests.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let target = line.split(' ').nth(1).unwrap_or_default();
        let path = target.split('?').next().unwrap_or_default().to_owned();
        while !matches!(line.as_str(), "\r\n" | "") {
            line.clear();
            requests.read_line(&mut line)?;
        }
        let answer = stage
            .answers
            .lock()
            .expect("nobody panicked")
            .get(&path)
            .cloned();
        let (status, body) = match answer {
            Some(body) => ("200 OK", body),
            None => ("404 Not Found", "{}".to_owned()),
        };
        write!(
            stream,
            "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
    }
}
