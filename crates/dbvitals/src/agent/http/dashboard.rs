//! The dashboard: one page at `/`, and what it is made of.
//!
//! Everything is in the program, so that the page works where nothing else is to be reached. Where
//! the parts are found says what they contain: browsers keep them for ever and never mix the page
//! of one version with the parts of another. The page itself is asked for anew each time, which
//! costs an answer without a body as long as it is the same.
//!
//! The policy sent along lets nothing in but these parts and the API of this agent: no script in
//! the page's text, no other site, no frame around it, and no markup out of a string.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::Write as _;
use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use flate2::Compression;
use flate2::write::GzEncoder;

use super::{Desk, not_found};

/// What the page may load and do, and who may show it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
    require-trusted-types-for 'script'; trusted-types 'none'";

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const DRAWING: &str = "image/svg+xml";

/// What stands in the page for the place of its parts.
const PLACE: &str = "{assets}";

const PAGE: &str = include_str!("../../../assets/dashboard/index.html");

/// A part of the page: its path below their place, its type, its text.
type Source = (&'static str, &'static str, &'static str);

macro_rules! sources {
    ($($path:literal: $kind:expr,)*) => {
        [$(($path, $kind, include_str!(concat!("../../../assets/dashboard/", $path)))),*]
    };
}

const PARTS: [Source; 18] = sources![
    "app.js": SCRIPT,
    "chart.js": SCRIPT,
    "details.js": SCRIPT,
    "dom.js": SCRIPT,
    "feed.js": SCRIPT,
    "happened.js": SCRIPT,
    "icon.svg": DRAWING,
    "list.js": SCRIPT,
    "orders.js": SCRIPT,
    "queue.js": SCRIPT,
    "services.js": SCRIPT,
    "store.js": SCRIPT,
    "strip.js": SCRIPT,
    "style.css": STYLE,
    "uplot/LICENSE": "text/plain; charset=utf-8",
    "uplot/uPlot.iife.min.js": SCRIPT,
    "uplot/uPlot.min.css": STYLE,
    "words.js": SCRIPT,
];

/// The page with its parts, as they are sent.
#[derive(Debug)]
struct Dashboard {
    /// Says what the parts contain.
    release: String,
    page: Asset,
    parts: Vec<(&'static str, Asset)>,
}

/// Something that browsers load.
#[derive(Debug)]
struct Asset {
    kind: &'static str,
    text: Bytes,
    /// Made for the first who asks: many agents are never looked at.
    compressed: OnceLock<Bytes>,
}

/// The routes of the dashboard.
pub(super) fn routes() -> Router<Desk> {
    Router::new()
        .route("/", get(page))
        .route("/dashboard/{release}/{*path}", get(part))
        .with_state(Arc::new(Dashboard::new()))
}

async fn page(State(dashboard): State<Arc<Dashboard>>, asked: HeaderMap) -> Response {
    let tag = format!("\"{}\"", dashboard.release);
    let known = asked.get(header::IF_NONE_MATCH);
    let is_known = known.is_some_and(|known| known.as_bytes() == tag.as_bytes());
    let mut answer = match is_known {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => dashboard.page.answer(&asked),
    };
    let headers = answer.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(header::ETAG, tag);
    }
    protect(headers);
    answer
}

async fn part(
    State(dashboard): State<Arc<Dashboard>>,
    Path((release, path)): Path<(String, String)>,
    asked: HeaderMap,
) -> Response {
    let mut parts = dashboard.parts.iter();
    let found = parts.find(|(known, _)| *known == path);
    let Some((_, asset)) = found.filter(|_| release == dashboard.release) else {
        return not_found().await;
    };
    let mut answer = asset.answer(&asked);
    let headers = answer.headers_mut();
    let for_ever = HeaderValue::from_static("public, max-age=31536000, immutable");
    headers.insert(header::CACHE_CONTROL, for_ever);
    protect(headers);
    answer
}

/// What tells the browser to be strict.
fn protect(headers: &mut HeaderMap) {
    let fields = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ];
    headers.extend(fields.map(|(name, value)| (name, HeaderValue::from_static(value))));
}

impl Dashboard {
    fn new() -> Self {
        let mut hasher = DefaultHasher::new();
        (PAGE, PARTS).hash(&mut hasher);
        let release = format!("{:016x}", hasher.finish());
        let page = PAGE.replace(PLACE, &format!("/dashboard/{release}"));
        let parts = PARTS.map(|(path, kind, text)| (path, Asset::new(kind, text.into())));
        Self {
            release,
            page: Asset::new(HTML, page.into()),
            parts: parts.into(),
        }
    }
}

impl Asset {
    fn new(kind: &'static str, text: Bytes) -> Self {
        Self {
            kind,
            text,
            compressed: OnceLock::new(),
        }
    }

    fn answer(&self, asked: &HeaderMap) -> Response {
        let headers = [
            (header::CONTENT_TYPE, self.kind),
            (header::VARY, "accept-encoding"),
        ];
        if !takes_gzip(asked) {
            return (headers, self.text.clone()).into_response();
        }
        let compressed = self.compressed.get_or_init(|| compress(&self.text));
        let encoding = [(header::CONTENT_ENCODING, "gzip")];
        (headers, encoding, compressed.clone()).into_response()
    }
}

/// Whether a client says that it reads what is compressed.
fn takes_gzip(asked: &HeaderMap) -> bool {
    let values = asked.get_all(header::ACCEPT_ENCODING).into_iter();
    let mut words = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    words.any(|word| {
        let mut parts = word.split(';').map(str::trim);
        let is_gzip = parts.next() == Some("gzip");
        is_gzip && !parts.any(|part| matches!(part, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
    })
}

fn compress(text: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    // A vector takes all that is written.
    let written = encoder.write_all(text).and_then(|()| encoder.finish());
    written.unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_the_page_is_small() {
        let dashboard = Dashboard::new();
        let parts = dashboard.parts.iter().map(|(_, asset)| asset);
        let sizes = parts
            .chain([&dashboard.page])
            .map(|it| compress(&it.text).len());
        let all: usize = sizes.sum();
        assert!(all > 20_000, "{all} bytes are no page");
        assert!(all < 150_000, "{all} bytes are too many");
    }

    #[test]
    fn what_the_page_and_its_parts_name_is_there() {
        let known: Vec<_> = PARTS.iter().map(|(path, ..)| *path).collect();
        let beginning = format!("\"{PLACE}/");
        let page = PAGE.split(&beginning).skip(1);
        let page: Vec<_> = page.filter_map(|rest| rest.split('"').next()).collect();
        let mut named = page.clone();
        let mut modules = Vec::new();
        for (path, kind, text) in PARTS {
            if kind == SCRIPT && !path.starts_with("uplot/") {
                modules.push(path);
                let imports = text.split(" from \"./").skip(1);
                named.extend(imports.filter_map(|rest| rest.split('"').next()));
            }
        }
        assert!(named.len() > 30, "{named:?}");
        for path in named {
            assert!(known.contains(&path), "{path} is not served");
        }
        // Loaded at once, not one after the other as they name each other.
        for module in modules {
            assert!(page.contains(&module), "the page does not load {module}");
        }
    }

    #[test]
    fn nothing_of_the_page_makes_markup_of_strings_or_asks_anybody_else() {
        let forbidden = [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "style=",
            "localStorage",
        ];
        let own = PARTS
            .iter()
            .filter(|(path, ..)| !path.starts_with("uplot/"));
        for (path, _, text) in own.chain([&("index.html", HTML, PAGE)]) {
            let found: Vec<_> = forbidden
                .iter()
                .filter(|word| text.contains(**word))
                .collect();
            assert!(found.is_empty(), "{path}: {found:?}");
            let elsewhere = text.replace("http://www.w3.org/2000/svg", "");
            assert!(!elsewhere.contains("://"), "{path} names another site");
        }
    }

    #[test]
    fn compressed_is_sent_to_those_who_say_they_read_it() {
        let check = |value: &'static str, expected| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(value));
            assert_eq!(takes_gzip(&headers), expected, "{value}");
        };
        check("gzip, deflate, br", true);
        check("br;q=1.0, gzip;q=0.8", true);
        check("identity", false);
        check("gzip;q=0, br", false);
        check("xgzip", false);
        assert!(!takes_gzip(&HeaderMap::new()));
    }
}
