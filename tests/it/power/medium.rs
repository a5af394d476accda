//! Files as a power cut leaves them: what was synced is there, anything else may be.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;

use super::trace::Event;
use crate::support::bytes;

/// Which syncs count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Honoured {
    All,
    /// As if sled's `flush` stood alone: no sync of the index.
    AllButIndex,
    AllButLog,
}

/// Names and files while the recording is played; names change durably only with their directory.
#[derive(Clone, Debug, Default)]
pub struct Medium {
    inodes: Vec<Inode>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
}

impl Medium {
    pub fn play(&mut self, event: &Event, honoured: Honoured) {
        match event {
            Event::Create(path) => {
                if !self.names.contains_key(path) {
                    self.inodes.push(Inode::default());
                    self.names.insert(path.clone(), self.inodes.len() - 1);
                }
            }
            Event::Write(path, ..) | Event::Truncate(path, _) | Event::Punch(path, ..) => {
                if let Some(at) = self.names.get(path) {
                    self.inodes[*at].dirty.push(event.clone());
                }
            }
            Event::Sync(path) => {
                let text = path.to_string_lossy();
                let ignored = match honoured {
                    Honoured::All => false,
                    Honoured::AllButIndex => text.contains("/index"),
                    Honoured::AllButLog => text.contains("/log/"),
                };
                if ignored {
                    return;
                }
                if let Some(at) = self.names.get(path) {
                    let inode = &mut self.inodes[*at];
                    for event in std::mem::take(&mut inode.dirty) {
                        apply(&mut inode.durable, &event);
                    }
                } else {
                    // A directory.
                    self.durable_names.retain(|p, _| p.parent() != Some(path));
                    let here = self.names.iter().filter(|(p, _)| p.parent() == Some(path));
                    self.durable_names.extend(here.map(|(p, i)| (p.clone(), *i)));
                }
            }
            Event::Rename(from, to) => {
                if let Some(at) = self.names.remove(from) {
                    self.names.insert(to.clone(), at);
                }
            }
            Event::Unlink(path) => drop(self.names.remove(path)),
            Event::Said(_) => {}
        }
    }

    /// One state that a power cut could leave. `way` 0 keeps nothing that was not synced, 1
    /// everything, others some sectors and some names.
    pub fn cut(&self, way: u64) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut random = bytes(way.wrapping_mul(977) + 5, 1 << 12).into_iter().cycle();
        let mut keep = || match way {
            0 => false,
            1 => true,
            // Some ways lose little, some much.
            way => random.next().unwrap() < [128, 230, 40][way as usize % 3],
        };
        let all: HashSet<&PathBuf> = self.names.keys().chain(self.durable_names.keys()).collect();
        let mut all: Vec<&PathBuf> = all.into_iter().collect();
        all.sort();
        let mut state = BTreeMap::new();
        for path in all {
            let (now, then) = (self.names.get(path), self.durable_names.get(path));
            let Some(at) = (if now == then || keep() { now } else { then }) else { continue };
            let inode = &self.inodes[*at];
            let mut bytes = inode.durable.clone();
            for event in &inode.dirty {
                match event {
                    Event::Write(path, at, data) if way > 1 => {
                        let mut from = 0;
                        while from < data.len() {
                            let n = (512 - (*at as usize + from) % 512).min(data.len() - from);
                            if keep() {
                                let piece = data[from..from + n].to_vec();
                                apply(
                                    &mut bytes,
                                    &Event::Write(path.clone(), at + from as u64, piece),
                                );
                            }
                            from += n;
                        }
                    }
                    event => {
                        if keep() {
                            apply(&mut bytes, event);
                        }
                    }
                }
            }
            state.insert(path.clone(), bytes);
        }
        state
    }
}

/// A file's bytes on the medium, and what may come to be there.
#[derive(Clone, Debug, Default)]
struct Inode {
    durable: Vec<u8>,
    dirty: Vec<Event>,
}

fn apply(bytes: &mut Vec<u8>, event: &Event) {
    match event {
        Event::Write(_, at, data) => {
            let to = *at as usize + data.len();
            if bytes.len() < to {
                bytes.resize(to, 0);
            }
            bytes[*at as usize..to].copy_from_slice(data);
        }
        Event::Truncate(_, len) => bytes.resize(*len as usize, 0),
        Event::Punch(_, at, len) => {
            let to = ((at + len) as usize).min(bytes.len());
            bytes[(*at as usize).min(to)..to].fill(0);
        }
        _ => {}
    }
}
