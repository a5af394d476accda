//! The users of the demo, and what they say.

use keyfall::{Class, Engine, Error, Put, RecordId, Source, UserId};
use serde_json::json;

/// What each user said.
const USERS: [(&str, [&str; 3]); 4] = [
    ("ada", ["wake me at half past six", "order a ride to the station", "text Ben that I am late"]),
    ("ben", ["wake me at 6:30 every weekday", "what is on my calendar", "order the usual pizza"]),
    ("chloe", ["turn the lights off", "remind me to call home", "how far is the moon"]),
    ("dora", ["set a timer for ten minutes", "read me the news", "lock the front door"]),
];
/// The user whose records the demo erases.
pub(super) const ERASED: &str = "ada";
/// The user who erases a recording and keeps the action derived from it.
pub(super) const KEPT: &str = "ben";
/// Why that is kept.
pub(super) const REASON: &str = "the alarm goes on ringing";
/// Samples per second of the generated audio.
const RATE: u32 = 8000;

/// A WAVE file, as long as the sentence takes to say: PCM 16 bit, mono, 8 kHz; 70 ms of a gliding
/// tone for each letter.
pub(super) fn audio(sentence: &str) -> Vec<u8> {
    let samples = sentence.len() as u32 * RATE * 7 / 100;
    let mut wav = Vec::with_capacity(44 + samples as usize * 2);
    wav.extend_from_slice(b"RIFF");
    wav.extend_from_slice(&(36 + samples * 2).to_le_bytes());
    wav.extend_from_slice(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    wav.extend_from_slice(&RATE.to_le_bytes());
    wav.extend_from_slice(&(RATE * 2).to_le_bytes());
    wav.extend_from_slice(b"\x02\0\x10\0data");
    wav.extend_from_slice(&(samples * 2).to_le_bytes());
    let mut phase = 0.0f32;
    for n in 0..samples {
        let letter = sentence.as_bytes()[(n * 100 / (RATE * 7)) as usize % sentence.len()];
        phase += (90.0 + f32::from(letter) * 4.0) / RATE as f32;
        #[expect(clippy::cast_possible_truncation, reason = "a sample")]
        let sample = ((phase * std::f32::consts::TAU).sin() * 9000.0) as i16;
        wav.extend_from_slice(&sample.to_le_bytes());
    }
    wav
}

/// A record that was put.
pub(super) struct Record {
    pub(super) id: RecordId,
    pub(super) user: &'static str,
    pub(super) content: Vec<u8>,
}

/// Puts a recording, its transcript and an action for each sentence.
pub(super) fn put_all(engine: &Engine) -> Result<Vec<Record>, Error> {
    let mut records = Vec::new();
    for (name, sentences) in USERS {
        for sentence in sentences {
            let interaction = engine.new_interaction()?;
            let action = json!({"kind": "assistant.did", "text": sentence}).to_string();
            let contents = [
                (Class::audio(), "audio/wav", audio(sentence)),
                (Class::transcript(), "text/plain; charset=utf-8", sentence.as_bytes().to_vec()),
                (Class::action(), "application/json", action.into_bytes()),
            ];
            let mut batch = engine.batch();
            let mut last = None;
            for (class, media_type, content) in &contents {
                let mut put = Put::new(UserId::new(name)?, class.clone());
                put = put.interaction(interaction).media_type(*media_type);
                // The transcript is derived from the recording, and the action from the transcript.
                if let Some(last) = last {
                    put = put.derived_from(Source::Added(last));
                }
                last = Some(batch.add(put, &content[..])?);
            }
            let ids = batch.commit()?;
            let records_of = ids.into_iter().zip(contents);
            records.extend(records_of.map(|(id, (.., content))| Record {
                id,
                user: name,
                content,
            }));
        }
    }
    Ok(records)
}

/// Reads a record whole.
pub(super) fn content(engine: &Engine, id: &RecordId) -> Result<Vec<u8>, Error> {
    let mut out = Vec::new();
    engine.get_to(id, &mut out).map(|_| out)
}

/// How many records come back byte for byte, and of how many.
#[derive(Clone, Copy)]
pub(super) struct Whole {
    pub(super) back: usize,
    pub(super) of: usize,
}

impl Whole {
    pub(super) fn of(engine: &Engine, records: &[&Record]) -> Whole {
        let is_back = |r: &&&Record| content(engine, &r.id).is_ok_and(|c| c == r.content);
        Whole { back: records.iter().filter(is_back).count(), of: records.len() }
    }
}
