//! What each command does, one file a noun.

mod audit;
mod backup;
mod certificate;
mod check;
mod copy;
mod create;
mod delivery;
mod demo;
mod discard;
mod draft;
mod drill;
mod erase;
mod export;
mod get;
mod grant;
mod hold;
mod import;
mod inbox;
mod info;
mod init;
mod keyholder;
mod lineage;
mod list;
mod log;
mod manual;
mod plan;
mod planned;
mod policy;
mod put;
mod realm;
mod report;
mod restore;
mod sealed;
mod standby;
mod status;
mod tend;
mod training;
mod trust;
mod upload;
mod watch;

use crate::args::Command;
use crate::bench;
use crate::shell::failure::Done;
use crate::shell::session::Session;

pub(crate) fn run(session: &Session, command: Command) -> Done {
    match command {
        Command::Init(args) => init::run(session, args),
        Command::Create(args) => create::run(session, args),
        Command::Import(args) => import::run(session, args),
        Command::Put(args) => put::run(session, args),
        Command::Get(args) => get::run(session, args),
        Command::Info(args) => info::run(session, args),
        Command::List(args) => list::run(session, args),
        Command::Inbox(args) => inbox::key(session, args),
        Command::Seal(args) => inbox::seal(session, args),
        Command::Accept(args) => inbox::accept(session, args),
        Command::Lineage(args) => lineage::show(session, args),
        Command::Detach(args) => lineage::detach(session, args),
        Command::History(args) => lineage::history(session, args),
        Command::Report(args) => report::run(session, args),
        Command::Export(args) => export::run(session, args),
        Command::Key(args) => sealed::key(session, &args),
        Command::Ask(args) => sealed::ask(session, &args),
        Command::Unseal(args) => sealed::unseal(session, &args),
        Command::Grant(command) => grant::run(session, command),
        Command::Training(command) => training::run(session, command),
        Command::Watch(args) => watch::run(session, args),
        Command::Standby(args) => standby::run(session, args),
        Command::Erase(args) => erase::run(session, args),
        Command::Tend(args) => tend::run(session, args),
        Command::Plan(command) => plan::run(session, command),
        Command::Policy(command) => policy::run(session, command),
        Command::Hold(command) => hold::run(session, command),
        Command::Certificate(command) => certificate::run(session, command),
        Command::Log(command) => log::run(session, command),
        Command::Keyholder(command) => keyholder::run(session, command),
        Command::Realm(command) => realm::run(session, command),
        Command::Copy(command) => copy::run(session, command),
        Command::Backup(args) => backup::run(session, args),
        Command::Restore(args) => restore::run(session, &args),
        Command::Drill(args) => drill::run(session, &args),
        Command::Check(args) => check::run(session, args),
        Command::Audit(args) => audit::run(session, args),
        Command::Discard(args) => discard::run(session, args),
        Command::Status(args) => status::run(session, args),
        Command::Demo(args) => demo::run(session, &args),
        Command::Bench(args) => bench::run(session, &args),
        Command::Upload(command) => upload::run(session, command),
        Command::Completions(args) => manual::completions(&args),
        Command::Man(args) => manual::man(&args),
    }
}
