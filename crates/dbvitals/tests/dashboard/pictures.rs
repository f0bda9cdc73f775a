//! How the page looks: pictures of it are compared with those that somebody has looked at.
//!
//! `stage.js` gives the page a clock that stands still and answers that are always the same. Both
//! pictures are made four times smaller before they are compared, so that another smoothing of
//! letters is no difference, and a line that is moved is one. After a change on purpose:
//! `DBVITALS_PICTURES=write cargo test -p dbvitals --test dashboard pictures`, and look at them.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;

use crate::browser::Browser;
use crate::{launch, look_at, set_stage};

/// How much of a picture may differ.
const DIFFERENT_MAX: f64 = 0.01;

/// The part of two pictures that differs, 1 where they have not the same size.
const COMPARE: &str = "(async (one, other) => {
    const pixels = async (data) => {
        const image = new Image();
        image.src = 'data:image/png;base64,' + data;
        await image.decode();
        const canvas = document.createElement('canvas');
        [canvas.width, canvas.height] = [image.width >> 2, image.height >> 2];
        const draw = canvas.getContext('2d');
        draw.imageSmoothingQuality = 'high';
        draw.drawImage(image, 0, 0, canvas.width, canvas.height);
        return { size: `${image.width} ${image.height}`, data: draw.getImageData(0, 0, canvas.width, canvas.height).data };
    };
    const [a, b] = [await pixels(one), await pixels(other)];
    if (a.size !== b.size) return 1;
    let different = 0;
    for (let at = 0; at < a.data.length; at += 4) {
        const apart = (channel) => Math.abs(a.data[at + channel] - b.data[at + channel]);
        if (Math.max(apart(0), apart(1), apart(2)) > 40) different += 1;
    }
    return different / (a.data.length / 4);
})";

/// Compares what is seen with the picture of this name, or makes it where that is asked for.
fn compare(browser: &mut Browser, name: &str) {
    let seen = browser.picture();
    let path = picture_at(name);
    let bytes = BASE64_STANDARD.decode(&seen).expect("the browser's base64");
    if env::var("DBVITALS_PICTURES").is_ok_and(|value| value == "write") {
        fs::write(&path, bytes).expect("the source can be written");
        return;
    }
    let known = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let known = BASE64_STANDARD.encode(known);
    let different = browser.eval(&format!("{COMPARE}({}, {})", json!(known), json!(seen)));
    let different = different.as_f64().expect("a number");
    if different > DIFFERENT_MAX {
        let seen = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.png"));
        fs::write(&seen, bytes).expect("the target directory can be written");
        panic!(
            "{name} differs in {:.1} %: look at {} beside {}; if it is as it should be, \
             DBVITALS_PICTURES=write makes it the one to compare with",
            different * 100.0,
            seen.display(),
            path.display()
        );
    }
}

#[test]
fn the_page_looks_as_it_did_on_a_desk_and_on_a_phone_by_day_and_by_night() {
    let mut browser = launch!();
    let (_service, agent) = set_stage(&mut browser, &[]);
    for (device, width, height) in [("desk", 1440, 900), ("phone", 390, 844)] {
        browser.size(width, height, device == "phone");
        for scheme in ["light", "dark"] {
            browser.prefer(scheme);
            for (what, fragment) in [("overview", ""), ("server", "#/orders-2")] {
                // A page that differs in its fragment alone would not be loaded anew.
                browser.open("about:blank");
                look_at(&mut browser, &agent, fragment);
                browser.wait_for("document.querySelectorAll('.row').length > 5 && document.fonts.status === 'loaded'");
                if what == "server" {
                    browser.wait_for("document.querySelector('.chart .plot canvas') !== null");
                }
                // All that was known has been drawn.
                browser.eval("new Promise((go) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(go, 50))))");
                let wide = browser.eval("document.scrollingElement.scrollWidth");
                assert_eq!(wide, width, "{what} is wider than a {device}");
                compare(&mut browser, &format!("{what}-{device}-{scheme}"));
            }
        }
    }
    // Pages that differ are found to: the night is not the day.
    browser.prefer("light");
    let (night, day) = (
        fs::read(picture_at("overview-phone-dark")),
        fs::read(picture_at("overview-phone-light")),
    );
    let encode = |read: std::io::Result<Vec<u8>>| BASE64_STANDARD.encode(read.expect("a picture"));
    let different = browser.eval(&format!(
        "{COMPARE}({}, {})",
        json!(encode(night)),
        json!(encode(day))
    ));
    assert!(
        different.as_f64().is_some_and(|part| part > 0.5),
        "{different}"
    );
}

fn picture_at(name: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dashboard/pictures");
    directory.join(format!("{name}.png"))
}
