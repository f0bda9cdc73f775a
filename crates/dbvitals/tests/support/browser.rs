//! A browser without a window, driven as its own developers' tools would.
//!
//! Chromium speaks its protocol (DevTools) over a pair of pipes, one JSON text after the other with
//! a NUL in between: neither a port that others could meet nor a library is needed. What the page
//! complains about is kept, a breach of its policy among it. A browser ends with its test: when the
//! pipe closes, whoever closes it.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{self, Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use dbvitals_testkit::eventually;
use serde_json::{Value, json};

/// How long the browser may take for an answer, on a busy machine too.
const ANSWERS_WITHIN: Duration = Duration::from_secs(30);
/// How long something on the page may take that has no bound of its own.
const PATIENCE: Duration = Duration::from_secs(15);

/// A browser with one page.
pub(crate) struct Browser {
    child: Child,
    commands: Option<ChildStdin>,
    heard: Receiver<Value>,
    reader: Option<JoinHandle<()>>,
    profile: PathBuf,
    session: Option<String>,
    last: u64,
    complaints: Vec<String>,
}

impl Browser {
    /// Starts the browser at this path, with an empty page.
    pub(crate) fn start(program: &Path) -> Self {
        static PROFILES: AtomicU32 = AtomicU32::new(0);
        let number = PROFILES.fetch_add(1, Ordering::Relaxed);
        let name = format!("dbv-browser-{}-{number}", process::id());
        let profile = std::env::temp_dir().join(name);
        // The protocol's pipes are descriptors 3 and 4.
        let mut child = Command::new("sh")
            .args([
                "-c",
                "exec 3<&0 4>&1 </dev/null >/dev/null; exec \"$@\"",
                "sh",
            ])
            .arg(program)
            .args([
                "--headless",
                // Tests may run as root, and everything that is loaded comes from the agent.
                "--no-sandbox",
                "--remote-debugging-pipe",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--disable-background-networking",
                "--disable-component-update",
                "--no-first-run",
                "--hide-scrollbars",
                "--force-device-scale-factor=1",
                "--force-color-profile=srgb",
                "--font-render-hinting=none",
                "--disable-lcd-text",
                "--lang=en-US",
            ])
            .arg(format!("--user-data-dir={}", profile.display()))
            .arg("about:blank")
            .env("TZ", "UTC")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the browser can be started");
        let answers = child.stdout.take().expect("standard output is a pipe");
        let (sender, heard) = sync_channel(1024);
        let reader = thread::spawn(move || {
            for message in messages(answers) {
                if sender.send(message).is_err() {
                    return;
                }
            }
        });
        let mut browser = Self {
            commands: child.stdin.take(),
            child,
            heard,
            reader: Some(reader),
            profile,
            session: None,
            last: 0,
            complaints: Vec::new(),
        };
        browser.attach();
        browser
    }

    fn attach(&mut self) {
        let made = self.command("Target.createTarget", json!({"url": "about:blank"}));
        let target = json!({"targetId": made["targetId"], "flatten": true});
        let attached = self.command("Target.attachToTarget", target);
        self.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log"] {
            self.command(&format!("{domain}.enable"), json!({}));
        }
        self.size(1440, 900, false);
    }

    /// Gives a command and returns its result.
    pub(crate) fn command(&mut self, method: &str, parameters: Value) -> Value {
        let done = self.try_command(method, parameters);
        done.unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    /// Gives a command and returns its result, or the browser's word that it could not be done.
    fn try_command(&mut self, method: &str, parameters: Value) -> Result<Value, Value> {
        self.last += 1;
        let mut message = json!({"id": self.last, "method": method, "params": parameters});
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        let commands = self.commands.as_mut().expect("the browser runs");
        let sent = write!(commands, "{message}\0").and_then(|()| commands.flush());
        sent.unwrap_or_else(|error| panic!("the browser has gone before {method}: {error}"));
        loop {
            let heard = self.heard.recv_timeout(ANSWERS_WITHIN);
            let mut heard = heard.unwrap_or_else(|_| panic!("no answer to {method}"));
            if heard["id"] != self.last {
                self.note(&heard);
                continue;
            }
            return match heard["error"].is_null() {
                true => Ok(heard["result"].take()),
                false => Err(heard["error"].take()),
            };
        }
    }

    /// Keeps what the page complains about.
    fn note(&mut self, event: &Value) {
        let said = &event["params"];
        let complaint = match event["method"].as_str() {
            Some("Runtime.exceptionThrown") => {
                &said["exceptionDetails"]["exception"]["description"]
            }
            Some("Log.entryAdded") if said["entry"]["level"] == "error" => &said["entry"]["text"],
            Some("Runtime.consoleAPICalled") if said["type"] == "error" => &said["args"],
            _ => return,
        };
        self.complaints.push(complaint.to_string());
    }

    /// What the page complained about, but for answers and connections that failed: those belong
    /// to agents that are away or refuse.
    pub(crate) fn complaints(&mut self) -> Vec<String> {
        // Whatever was said before this is heard with its answer.
        self.eval("1");
        let expected = |it: &String| it.contains("Failed to load resource");
        let complaints = self.complaints.iter().filter(|it| !expected(it));
        complaints.cloned().collect()
    }

    /// Runs a script in every page from now on, before anything of the page.
    pub(crate) fn before_each_page(&mut self, script: &str) {
        let script = json!({"source": script});
        self.command("Page.addScriptToEvaluateOnNewDocument", script);
    }

    pub(crate) fn size(&mut self, width: u32, height: u32, phone: bool) {
        let metrics =
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone});
        self.command("Emulation.setDeviceMetricsOverride", metrics);
    }

    /// Prefers light or dark, and nothing that moves.
    pub(crate) fn prefer(&mut self, scheme: &str) {
        let features = json!({"features": [
            {"name": "prefers-color-scheme", "value": scheme},
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ]});
        self.command("Emulation.setEmulatedMedia", features);
    }

    pub(crate) fn open(&mut self, url: &str) {
        let opened = self.command("Page.navigate", json!({"url": url}));
        assert!(opened["errorText"].is_null(), "{url}: {opened}");
    }

    pub(crate) fn reload(&mut self) {
        self.command("Page.reload", json!({}));
    }

    /// The value of an expression in the page; a promise is waited for.
    pub(crate) fn eval(&mut self, expression: &str) -> Value {
        let value = self.try_eval(expression);
        value.unwrap_or_else(|error| panic!("{expression}: {error}"))
    }

    fn try_eval(&mut self, expression: &str) -> Result<Value, Value> {
        let asked = json!({"expression": expression, "awaitPromise": true, "returnByValue": true});
        let mut answer = self.try_command("Runtime.evaluate", asked)?;
        match answer["exceptionDetails"].is_null() {
            true => Ok(answer["result"]["value"].take()),
            false => Err(answer["exceptionDetails"].take()),
        }
    }

    /// Waits until an expression holds.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, expression: &str) {
        // The page may be about to be replaced by another, or be replaced while it answers.
        let guarded = format!(
            "(() => {{ try {{ return Boolean({expression}) }} catch {{ return false }} }})()"
        );
        let holds = eventually(PATIENCE, || {
            self.try_eval(&guarded).is_ok_and(|value| value == true)
        });
        if !holds {
            let text = self.eval("document.body?.innerText");
            panic!(
                "not so: {expression}\n{}",
                text.as_str().unwrap_or_default()
            );
        }
    }

    /// The text of the first element that a selector finds.
    pub(crate) fn text(&mut self, selector: &str) -> String {
        let text = self.eval(&format!(
            "document.querySelector({})?.innerText",
            json!(selector)
        ));
        text.as_str().unwrap_or_default().to_owned()
    }

    /// Clicks on the first element that a selector finds, where it is.
    #[track_caller]
    pub(crate) fn click(&mut self, selector: &str) {
        self.wait_for(&format!("document.querySelector({})", json!(selector)));
        let place = self.eval(&format!(
            "(() => {{ const it = document.querySelector({}); it.scrollIntoView({{ block: 'nearest' }}); \
             const box = it.getBoundingClientRect(); \
             return [box.x + box.width / 2, box.y + box.height / 2]; }})()",
            json!(selector)
        ));
        for kind in ["mousePressed", "mouseReleased"] {
            self.mouse(kind, &place[0], &place[1]);
        }
    }

    /// Presses the mouse at one place of an element and lets it go at another, each in parts of its width.
    pub(crate) fn drag(&mut self, selector: &str, from: f64, to: f64) {
        let edges = self.eval(&format!(
            "(() => {{ const it = document.querySelector({}); it.scrollIntoView({{ block: 'center' }}); \
             const box = it.getBoundingClientRect(); return [box.x, box.width, box.y + box.height / 2]; }})()",
            json!(selector)
        ));
        let at = |part: f64| {
            let number = |at: usize| edges[at].as_f64().expect("a number");
            json!(number(0) + number(1) * part)
        };
        self.mouse("mousePressed", &at(from), &edges[2]);
        self.mouse("mouseMoved", &at((from + to) / 2.0), &edges[2]);
        self.mouse("mouseMoved", &at(to), &edges[2]);
        self.mouse("mouseReleased", &at(to), &edges[2]);
    }

    fn mouse(&mut self, kind: &str, x: &Value, y: &Value) {
        let buttons = u8::from(kind != "mouseReleased");
        let event = json!({"type": kind, "x": x, "y": y, "button": "left", "buttons": buttons, "clickCount": 1});
        self.command("Input.dispatchMouseEvent", event);
    }

    /// Presses a key by its name, like `Enter` or `/`.
    pub(crate) fn press(&mut self, key: &str) {
        let mut event = json!({"type": "keyDown", "key": key});
        if key.chars().count() == 1 {
            event["text"] = json!(key);
        }
        if key == "Enter" {
            event["text"] = json!("\r");
        }
        self.command("Input.dispatchKeyEvent", event);
        self.command(
            "Input.dispatchKeyEvent",
            json!({"type": "keyUp", "key": key}),
        );
    }

    /// Types into what is focused.
    pub(crate) fn write(&mut self, text: &str) {
        self.command("Input.insertText", json!({"text": text}));
    }

    /// What is seen, as the base64 text of a PNG.
    pub(crate) fn picture(&mut self) -> String {
        let taken = self.command("Page.captureScreenshot", json!({"format": "png"}));
        let picture = taken["data"].as_str().expect("a picture");
        picture.to_owned()
    }
}

/// The messages of the browser, until it ends.
fn messages(answers: ChildStdout) -> impl Iterator<Item = Value> {
    let messages = BufReader::new(answers).split(0);
    messages
        .map_while(Result::ok)
        .filter_map(|message| serde_json::from_slice(&message).ok())
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The end of its pipe ends it, with its children; it is given a moment for that.
        self.commands = None;
        eventually(Duration::from_secs(3), || {
            !matches!(self.child.try_wait(), Ok(None))
        });
        // It may have ended already, and been waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
        // It may wait to hand on a message.
        while self.heard.try_recv().is_ok() {}
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
        // A directory too many does no harm.
        let _ = fs::remove_dir_all(&self.profile);
    }
}
