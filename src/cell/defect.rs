//! Ways to break a cell, which only a build for tests plants.

/// Ways to break a cell's slots; tests must turn red under each.
#[cfg_attr(
    not(feature = "testing"),
    expect(dead_code, unreachable_pub, reason = "only tests plant a defect")
)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CellDefect {
    /// Any engine passes for the owner.
    AnyOwner,
    /// The key that stands ready is taken for deposited without a look.
    ReadyFromMemory,
    /// A keyholder's fence is the newest tombstone among its slots, which the next deposit writes
    /// over; and it knows no owner.
    FenceInTombstone,
    /// A quorum destroys the old shares when `threshold` hold the new ones, with no margin.
    NoMargin,
    /// The running root key is dealt to whoever is named, whom it was not drawn for.
    NewcomerDealt,
}
