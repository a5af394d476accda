//! The same done with several places: with those where a request takes long at the same time.

use crate::error::Result;
use crate::secret::WipeStack;

/// Does something with each of these, with those that are far at the same time; the others in
/// order, up to the first that fails. Gives the first error by the order of them all.
pub(super) fn each<T: Send>(
    all: impl Iterator<Item = T>,
    is_far: impl Fn(&T) -> bool,
    act: impl Fn(T) -> Result<()> + Sync,
) -> Result<()> {
    let (far, near): (Vec<_>, Vec<_>) = all.enumerate().partition(|(_, one)| is_far(one));
    let one_by_one =
        |some: Vec<(usize, T)>| some.into_iter().find_map(|(n, one)| Some((n, act(one).err()?)));
    if far.len() < 2 && (far.is_empty() || near.is_empty()) {
        return one_by_one(near).or_else(|| one_by_one(far)).map_or(Ok(()), |(_, e)| Err(e));
    }
    let mut failed: Vec<_> = std::thread::scope(|scope| {
        let at_once = |(n, one): (usize, T)| {
            let act = &act;
            scope.spawn(move || {
                let _wiped = WipeStack;
                act(one).err().map(|e| (n, e))
            })
        };
        let far: Vec<_> = far.into_iter().map(at_once).collect();
        let near = one_by_one(near);
        let join = |one: std::thread::ScopedJoinHandle<'_, _>| {
            one.join().unwrap_or_else(|e| std::panic::resume_unwind(e))
        };
        far.into_iter().filter_map(join).chain(near).collect()
    });
    failed.sort_by_key(|(n, _)| *n);
    failed.into_iter().next().map_or(Ok(()), |(_, e)| Err(e))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::error::Error;

    #[test]
    fn the_first_error_counts_and_every_far_one_is_asked() {
        let asked = Mutex::new(Vec::new());
        let outcome = each(
            0..6,
            |n| n % 2 == 0,
            |n| {
                crate::sync::locked(&asked).push(n);
                if n > 1 { Err(Error::invalid(n.to_string())) } else { Ok(()) }
            },
        );
        assert_eq!(outcome.unwrap_err().to_string(), "2");
        let mut asked = asked.into_inner().unwrap();
        asked.sort_unstable();
        assert_eq!(asked, [0, 1, 2, 3, 4], "a near one that fails is the last");
    }
}
