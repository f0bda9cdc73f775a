//! What a unix socket is bound to: a path, an abstract name, or nothing.
//!
//! Names are whatever bytes a program chose. Shown, they cannot harm a terminal or break a line.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// The name of a unix socket.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UnixName {
    /// A file, by the path its maker used, which may be relative to whatever was its directory.
    Path(PathBuf),
    /// A name of the network namespace, without the zero byte before it.
    Abstract(Vec<u8>),
    /// None.
    Unnamed,
}

impl UnixName {
    /// Reads the name as the kernel has it: an abstract one begins with a zero byte, and a path
    /// may end with one.
    #[must_use]
    pub fn from_kernel(bytes: &[u8]) -> Self {
        match bytes {
            [] => Self::Unnamed,
            [0, name @ ..] => Self::Abstract(name.to_owned()),
            path => {
                let end = path.iter().position(|byte| *byte == 0);
                let path = path.get(..end.unwrap_or(path.len())).unwrap_or_default();
                Self::Path(Path::new(OsStr::from_bytes(path)).to_owned())
            }
        }
    }

    /// Reads the name as people and the kernel's tables write it: `@` stands before an abstract
    /// one, and for each zero byte in it.
    #[must_use]
    pub fn from_text(text: &[u8]) -> Self {
        match text {
            [b'@', name @ ..] => {
                let zeros = |byte: &u8| if *byte == b'@' { 0 } else { *byte };
                Self::Abstract(name.iter().map(zeros).collect())
            }
            path => Self::from_kernel(path),
        }
    }

    /// The path, of one that has a file.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Path(path) => Some(path),
            Self::Abstract(_) | Self::Unnamed => None,
        }
    }
}

impl fmt::Display for UnixName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (before, bytes) = match self {
            Self::Path(path) => ("", path.as_os_str().as_bytes()),
            Self::Abstract(name) => ("@", &name[..]),
            Self::Unnamed => ("(unnamed)", &[][..]),
        };
        f.write_str(before)?;
        for letter in String::from_utf8_lossy(bytes).chars() {
            match letter {
                '\0' => f.write_str("@")?,
                letter if letter.is_control() => write!(f, "{}", letter.escape_default())?,
                letter => write!(f, "{letter}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(kernel: &[u8], shown: &str) {
        let name = UnixName::from_kernel(kernel);
        assert_eq!(name.to_string(), shown);
    }

    #[test]
    fn names_are_shown_as_ss_shows_them_and_harm_no_terminal() {
        check(b"/run/mysqld/mysqld.sock\0", "/run/mysqld/mysqld.sock");
        check(b"\0dbus\0x", "@dbus@x");
        check(b"", "(unnamed)");
        check(b"/tmp/\x1b[2J\n", "/tmp/\\u{1b}[2J\\n");
    }

    #[test]
    fn what_is_shown_can_be_read_again() {
        for kernel in [&b"/tmp/a"[..], b"\0a\0b"] {
            let name = UnixName::from_kernel(kernel);
            assert_eq!(UnixName::from_text(name.to_string().as_bytes()), name);
        }
    }
}
