//! The sections and keys of the file, and the plan they make.
//!
//! `[defaults]` holds any key of a backend's pace; a backend's own key wins. Keys are the fields'
//! names; sections that a later version brings are named as such, not as typing errors.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dbvitals_probe::Statement;
use dbvitals_verdict::{Cause, Class, Classes, Depth, Plan};
use secrecy::SecretString;
use toml::Spanned;
use toml::de::DeTable;

use super::ConfigError;
use super::agent_checks::read_agent_checks;
use super::doors::Listening;
use super::gates::read_gates;
use super::hooks::read_hooks;
use super::pieces::cut;
use super::reader::{Placed, Reader, Section, start};
use super::services::read_services;
use super::sockets::check_sockets;
use super::subjects::Subjects;
use crate::agent::agent_plan::{AgentPlan, control_socket};
use crate::agent::http::{Tls, TlsFault};
use crate::agent::plan::{BackendPlan, Histograms, Origin, default_plan, notice};
use crate::depth;
use crate::expectation::{Expectation, parse_want};
use crate::password;
use crate::shared_parts::SharedParts;
use crate::target_url::TargetUrl;

pub(super) const SECTIONS: [&str; 8] = [
    "agent",
    "defaults",
    "backend",
    "service",
    "gate",
    "agent_check",
    "hook",
    "classes",
];
pub(super) const LATER_SECTIONS: [&str; 2] = ["route", "coordination"];
pub(super) const AGENT_KEYS: [&str; 10] = [
    "name",
    "http",
    "http_certificate",
    "http_key",
    "state_dir",
    "history",
    "control",
    "token_file",
    "histograms",
    "logins_per_second_max",
];
pub(super) const PACE_KEYS: [&str; 10] = [
    "interval",
    "confirm_interval",
    "fast_interval",
    "down_interval",
    "fresh_interval",
    "timeout",
    "slow_over",
    "rise",
    "fall",
    "stale_after",
];
pub(super) const BACKEND_KEYS: [&str; 8] = [
    "url",
    "password_file",
    "password_env",
    "depth",
    "want",
    "max_lag",
    "query",
    "equals",
];
/// Where HTTP is answered unless the file says otherwise.
pub(crate) const HTTP_DEFAULT: &str = "127.0.0.1:8306";

/// Reads the text of a file into a plan, or names everything that is wrong with it.
pub(super) fn plan(text: &str) -> Result<AgentPlan, Vec<ConfigError>> {
    let in_pieces = cut(text).map(|pieces| read(&pieces.rest, &pieces.backends));
    match in_pieces {
        Some(Ok(plan)) => Ok(plan),
        // What is wrong is told of the whole, where each thing stands.
        Some(Err(_)) | None => read(text, &[]),
    }
}

fn parse(text: &str) -> Result<Spanned<DeTable<'_>>, ConfigError> {
    DeTable::parse(text).map_err(|error| {
        let offset = error.span().map_or(0, |span| span.start);
        let message = error.message().trim().replace('\n', "; ");
        ConfigError {
            offset,
            message: format!("this is no TOML: {message}"),
        }
    })
}

/// Reads a file from which the sections of these backends were cut.
pub(super) fn read(text: &str, pieces: &[&str]) -> Result<AgentPlan, Vec<ConfigError>> {
    let root = parse(text).map_err(|error| vec![error])?;
    let root = root.get_ref();
    if !pieces.is_empty() && root.contains_key("backend") {
        // Whether both kinds may stand side by side is for the parser to say.
        return Err(Vec::new());
    }
    let mut reader = Reader::default();
    check_sections(&mut reader, root);
    let agent = read_agent(&mut reader, root);
    let http = agent.http;
    let defaults = reader.table(root, "defaults");
    if let Some(section) = defaults {
        reader.known_keys(section, &PACE_KEYS);
    }
    let classes = read_classes(&mut reader, root);
    let mut backends = Backends {
        defaults,
        classes: &classes,
        shared: SharedParts::default(),
        plans: BTreeMap::new(),
        notices: Vec::new(),
    };
    backends.read(&mut reader, root);
    for piece in pieces {
        backends.read_piece(&mut reader, piece);
    }
    backends.check(&mut reader, root);
    let Backends {
        plans: backends,
        notices,
        ..
    } = backends;
    if let Some(max) = &agent.logins_per_second_max {
        check_logins(&mut reader, max, &backends);
    }
    let services = read_services(&mut reader, root, &backends);
    let subjects = Subjects {
        root,
        backends: &backends,
        services: &services,
    };
    let gates = read_gates(&mut reader, subjects, http);
    let others = Listening {
        gates: &gates,
        checks: &[],
        http,
    };
    let agent_checks = read_agent_checks(&mut reader, subjects, others);
    let control = control_socket(agent.control.as_deref(), agent.state_dir.as_deref());
    let listening = (&*gates, &*agent_checks);
    check_sockets(&mut reader, root, control, &backends, listening);
    let hooks = read_hooks(&mut reader, subjects);
    match reader.errors.is_empty() {
        true => Ok(AgentPlan {
            name: agent.name,
            http,
            http_tls: agent.http_tls,
            state_dir: agent.state_dir,
            keeps_history: agent.keeps_history,
            control: agent.control,
            token: agent.token,
            histograms: agent.histograms,
            logins_per_second_max: agent.logins_per_second_max.map(|it| it.value),
            backends: backends.into_values().collect(),
            services,
            gates,
            agent_checks,
            hooks,
            notices,
        }),
        false => Err(reader.errors),
    }
}

fn check_sections(reader: &mut Reader, root: &DeTable<'_>) {
    let mut known = SECTIONS.to_vec();
    for (key, _) in root {
        let name: &str = key.get_ref();
        if LATER_SECTIONS.contains(&name) {
            known.push(name);
            reader.refuse(
                key.span().start,
                format!("[{name}] is planned and not there yet; leave it out"),
            );
        }
    }
    let section = Section {
        title: "",
        table: root,
        offset: 0,
    };
    reader.known_keys(section, &known);
}

/// Reads `[classes]`: the classes that an operator gives causes in place of their own.
fn read_classes(reader: &mut Reader, root: &DeTable<'_>) -> Classes {
    let mut classes = Classes::default();
    let Some(section) = reader.table(root, "classes") else {
        return classes;
    };
    if let Some(value) = section.table.get(Cause::SessionLost.name()) {
        reader.refuse(
            value.span().start,
            "session_lost is counted and never a failure, so its class changes nothing; leave it out",
        );
    }
    let names = Cause::ALL.map(Cause::name);
    reader.known_keys(section, &names);
    let words = Class::ALL.map(|class| (class.name(), class));
    for cause in Cause::ALL {
        if let Some(class) = reader.choice(section, cause.name(), &words) {
            classes.set(cause, class);
        }
    }
    classes
}

/// The section `[agent]`.
struct AgentSection {
    name: String,
    http: Option<SocketAddr>,
    http_tls: Option<Tls>,
    state_dir: Option<PathBuf>,
    keeps_history: bool,
    control: Option<PathBuf>,
    token: Option<SecretString>,
    histograms: Histograms,
    logins_per_second_max: Option<Placed<u32>>,
}

fn read_agent(reader: &mut Reader, root: &DeTable<'_>) -> AgentSection {
    let mut agent = AgentSection {
        name: host_name(),
        http: HTTP_DEFAULT.parse().ok(),
        http_tls: None,
        state_dir: None,
        keeps_history: true,
        control: None,
        token: None,
        histograms: Histograms::default(),
        logins_per_second_max: None,
    };
    let Some(section) = reader.table(root, "agent") else {
        return agent;
    };
    reader.known_keys(section, &AGENT_KEYS);
    if let Some(given) = reader.string(section, "name") {
        agent.name = given.value;
    }
    let path = |given: Placed<String>| PathBuf::from(given.value);
    agent.state_dir = reader.string(section, "state_dir").map(path);
    if let Some(keeps) = reader.choice(section, "history", &[("on", true), ("off", false)]) {
        agent.keeps_history = keeps;
    }
    agent.control = reader.string(section, "control").map(path);
    let words = [
        ("service", Histograms::Service),
        ("backend", Histograms::Backend),
    ];
    if let Some(histograms) = reader.choice(section, "histograms", &words) {
        agent.histograms = histograms;
    }
    agent.logins_per_second_max = reader.count(section, "logins_per_second_max");
    if let Some(given) = reader.string(section, "token_file") {
        match password::from_file(&PathBuf::from(given.value)) {
            Ok(token) => agent.token = Some(token),
            Err(error) => reader.refuse(given.offset, format!("token_file: {error}")),
        }
    }
    if let Some(given) = reader.string(section, "http") {
        match http_address(&given.value) {
            Ok(address) => agent.http = address,
            Err(why) => reader.refuse(given.offset, format!("http: {why}")),
        }
    }
    agent.http_tls = read_tls(reader, section);
    agent
}

/// A limit below what the paces ask for when all is well would be behind for ever, and one under
/// which a server that is down waits for too long would let its verdict go stale.
fn check_logins(reader: &mut Reader, max: &Placed<u32>, backends: &BTreeMap<String, BackendPlan>) {
    let plans = backends.values().map(|backend| &backend.plan);
    let wanted: f64 = plans.map(|plan| plan.logins_per_second_least()).sum();
    let wanted = (wanted.ceil() as u32).max(1);
    if max.value < wanted {
        reader.refuse(
            max.offset,
            format!(
                "logins_per_second_max is {}, and the backends need {wanted} a second, or their evidence goes stale; allow more, or lengthen their fresh_interval and stale_after",
                max.value
            ),
        );
    }
}

/// Reads the certificate and the key of HTTPS; one alone is of no use.
fn read_tls(reader: &mut Reader, section: Section<'_>) -> Option<Tls> {
    let certificate = reader.string(section, "http_certificate");
    let key = reader.string(section, "http_key");
    let (certificate, key) = match (certificate, key) {
        (Some(certificate), Some(key)) => (certificate, key),
        (Some(alone), None) if !section.table.contains_key("http_key") => {
            reader.refuse(
                alone.offset,
                "http_certificate needs the file of its key; add http_key",
            );
            return None;
        }
        (None, Some(alone)) if !section.table.contains_key("http_certificate") => {
            reader.refuse(
                alone.offset,
                "http_key needs the file of its certificate; add http_certificate",
            );
            return None;
        }
        (_, _) => return None,
    };
    match Tls::read(Path::new(&certificate.value), Path::new(&key.value)) {
        Ok(tls) => Some(tls),
        Err(TlsFault::Certificate(why)) => {
            reader.refuse(certificate.offset, format!("http_certificate: {why}"));
            None
        }
        Err(TlsFault::Key(why)) => {
            reader.refuse(key.offset, format!("http_key: {why}"));
            None
        }
    }
}

/// Reads where HTTP is to be answered: an address with its port, or `off`.
pub(crate) fn http_address(text: &str) -> Result<Option<SocketAddr>, String> {
    if text == "off" {
        return Ok(None);
    }
    match text.parse::<SocketAddr>() {
        Ok(address) if address.port() > 0 => Ok(Some(address)),
        Ok(_) | Err(_) => Err(format!(
            "{text:?} is no address to answer HTTP at; write it like {HTTP_DEFAULT}, or off"
        )),
    }
}

/// The name of this host.
pub(crate) fn host_name() -> String {
    let name = rustix::system::uname();
    name.nodename().to_string_lossy().into_owned()
}

/// The backends read so far, and what holds for all of them.
struct Backends<'a> {
    defaults: Option<Section<'a>>,
    classes: &'a Classes,
    shared: SharedParts,
    plans: BTreeMap<String, BackendPlan>,
    notices: Vec<String>,
}

impl Backends<'_> {
    /// Reads all that there are in a table.
    fn read(&mut self, reader: &mut Reader, root: &DeTable<'_>) {
        let known: Vec<_> = BACKEND_KEYS.iter().chain(&PACE_KEYS).copied().collect();
        for named in reader.named_tables(root, "backend") {
            let (name, section) = (&named.name, named.section());
            reader.known_keys(section, &known);
            let Some(backend) = self.read_backend(reader, section, name) else {
                continue;
            };
            if self.plans.insert(name.value.clone(), backend).is_some() {
                reader.refuse(name.offset, format!("[{}] is there twice", section.title));
            }
        }
    }

    /// Reads a section that was cut out.
    fn read_piece(&mut self, reader: &mut Reader, piece: &str) {
        match parse(piece) {
            Ok(root) => self.read(reader, root.get_ref()),
            Err(error) => reader.errors.push(error),
        }
    }

    fn read_backend(
        &mut self,
        reader: &mut Reader,
        section: Section<'_>,
        name: &Placed<String>,
    ) -> Option<BackendPlan> {
        let Some(url_text) = reader.string(section, "url") else {
            if !section.table.contains_key("url") {
                reader.refuse(
                    name.offset,
                    format!(
                        "[{}] has no url; add one like \"mysql://user@host\"",
                        section.title
                    ),
                );
            }
            return None;
        };
        let mut url = match TargetUrl::parse(&url_text.value) {
            Ok(url) => url,
            Err(why) => {
                reader.refuse(url_text.offset, why);
                return None;
            }
        };
        url.name.clone_from(&name.value);
        url.expectation = read_expectation(reader, section).or(url.expectation);
        let statement = read_statement(reader, section);
        let depth = read_depth(reader, section, &url, statement.is_some());
        let mut plan = default_plan(&url, depth);
        plan.classes.clone_from(self.classes);
        let plan = read_pace(reader, section, self.defaults, plan);
        self.notices.extend(notice(&url, &plan));
        if url.password.is_some() {
            self.notices.push(format!(
                "the password in the url of {} can be seen by all who may read the configuration; use password_file or password_env",
                url.name
            ));
        }
        let password = read_password(reader, section, &url);
        let mut target = match url.target(password, &mut self.shared) {
            Ok(target) => target,
            Err(why) => {
                reader.refuse(url_text.offset, why);
                return None;
            }
        };
        target.statement = statement;
        Some(BackendPlan {
            name: name.value.as_str().into(),
            origin: Origin::of(&url, &target, &mut self.shared),
            target: Arc::new(target),
            plan: self.shared.plan(plan),
        })
    }

    /// Refuses what is wrong with all of them together.
    fn check(&self, reader: &mut Reader, root: &DeTable<'_>) {
        if self.plans.is_empty() && reader.errors.is_empty() {
            reader.refuse(
                0,
                "there is no backend to watch; add a section like [backend.orders] with url = \"mysql://user@host\"",
            );
        }
        let mut known = BTreeMap::new();
        for (name, backend) in &self.plans {
            let address = &backend.target.address;
            if let Some(other) = known.insert(address.to_string(), name) {
                reader.refuse(
                    offset_of_backend(root, name),
                    format!("the address {address} is watched already, as backend {other:?}"),
                );
            }
        }
    }
}

/// Where the section of a backend begins.
fn offset_of_backend(root: &DeTable<'_>, name: &str) -> usize {
    let table = root
        .get("backend")
        .and_then(|value| value.get_ref().as_table());
    let mut keys = table.into_iter().flatten().map(|(key, _)| key);
    let key = keys.find(|key| &**key.get_ref() == name);
    key.map_or(0, |key| start(key.span()))
}

/// Reads `want` and `max_lag`; what stands here wins over the URL.
fn read_expectation(reader: &mut Reader, section: Section<'_>) -> Expectation {
    let want = reader.string(section, "want").and_then(|given| {
        let want = parse_want(&given.value);
        want.map_err(|why| reader.refuse(given.offset, format!("want: {why}")))
            .ok()
    });
    let max_lag = reader.duration(section, "max_lag");
    Expectation {
        want,
        max_lag: max_lag.map(|given| given.value),
    }
}

fn read_statement(reader: &mut Reader, section: Section<'_>) -> Option<Arc<Statement>> {
    let query = reader.string(section, "query");
    let equals = reader.string(section, "equals");
    match (query, equals) {
        (Some(query), equals) => Some(Arc::new(Statement {
            sql: query.value,
            equals: equals.map(|equals| equals.value),
        })),
        (None, Some(equals)) => {
            reader.refuse(
                equals.offset,
                "equals without a query compares nothing; add query",
            );
            None
        }
        (None, None) => None,
    }
}

fn read_depth(
    reader: &mut Reader,
    section: Section<'_>,
    url: &TargetUrl,
    has_statement: bool,
) -> Option<Depth> {
    let given = reader.string(section, "depth");
    let offset = given.as_ref().map_or(section.offset, |given| given.offset);
    let depth = match given.map(|given| depth::parse(&given.value)) {
        Some(Ok(depth)) => Some(depth),
        Some(Err(why)) => {
            reader.refuse(offset, format!("depth: {why}"));
            None
        }
        None => url.depth,
    };
    let depth = match (has_statement, depth) {
        (true, None) => Some(Depth::Query),
        (true, Some(depth)) if depth < Depth::Query => {
            reader.refuse(
                offset,
                format!("the depth {depth} never runs the query; use depth = \"query\""),
            );
            None
        }
        (_, depth) => depth,
    };
    let asked = depth.unwrap_or_else(|| url.default_depth());
    if let Err(why) = url.check_depth(asked) {
        reader.refuse(offset, why);
    }
    depth
}

fn read_pace(
    reader: &mut Reader,
    section: Section<'_>,
    defaults: Option<Section<'_>>,
    mut plan: Plan,
) -> Plan {
    for section in defaults.into_iter().chain([section]) {
        let durations = [
            ("interval", &mut plan.interval),
            ("confirm_interval", &mut plan.confirm_interval),
            ("fast_interval", &mut plan.fast_interval),
            ("down_interval", &mut plan.down_interval),
            ("fresh_interval", &mut plan.fresh_interval),
            ("timeout", &mut plan.timeout),
            ("stale_after", &mut plan.stale_after),
        ];
        for (key, place) in durations {
            if let Some(duration) = reader.duration(section, key) {
                *place = duration.value;
            }
        }
        if let Some(budget) = reader.duration(section, "slow_over") {
            plan.slow_over = Some(budget.value);
        }
        for (key, place) in [("rise", &mut plan.rise), ("fall", &mut plan.fall)] {
            if let Some(count) = reader.count(section, key) {
                *place = count.value;
            }
        }
    }
    if let Err(error) = plan.check() {
        let offset = offset_of(section, defaults, error.key());
        reader.refuse(offset, format!("[{}] {error}", section.title));
    }
    plan
}

/// Where a key was set: in the section, in the defaults, or nowhere.
fn offset_of(section: Section<'_>, defaults: Option<Section<'_>>, key: &str) -> usize {
    [Some(section), defaults]
        .into_iter()
        .flatten()
        .find_map(|section| section.table.get(key))
        .map_or(section.offset, |value| value.span().start)
}

fn read_password(
    reader: &mut Reader,
    section: Section<'_>,
    url: &TargetUrl,
) -> Option<SecretString> {
    let file = reader.string(section, "password_file");
    let variable = reader.string(section, "password_env");
    let (offset, read) = match (file, variable) {
        (Some(file), None) => (
            file.offset,
            password::from_file(&PathBuf::from(file.value)).map(Some),
        ),
        (None, Some(variable)) => (
            variable.offset,
            password::from_variable(&variable.value).map(Some),
        ),
        (Some(_), Some(variable)) => {
            reader.refuse(
                variable.offset,
                "password_file and password_env exclude each other; keep one",
            );
            return None;
        }
        (None, None) if url.password.is_some() => return url.password.clone(),
        (None, None) => (section.offset, password::ambient(&url.name)),
    };
    match read {
        Ok(password) => password,
        Err(error) => {
            reader.refuse(offset, error.to_string());
            None
        }
    }
}
