//! What a file system does with the old bytes of an overwritten file: a list of those that
//! overwrite in place, and a reason for each other one. What cannot be found out counts against it.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::dir::open_to_read;
use crate::disk::{cannot_say, keeps_old_bytes};
use crate::error::{Error, Result};

/// A file system, judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Name of the file system.
    pub(super) name: String,
    /// Why an overwritten key may stay on it; `None` if overwriting replaces the bytes that the
    /// disk is given.
    pub(super) objection: Option<String>,
}

const COPY_ON_WRITE: &str = "it writes new data elsewhere and keeps the old bytes";
const NETWORK: &str = "what the far side keeps cannot be known from here";
const LOG: &str = "it is log-structured and keeps the old bytes";

const EXT4: u64 = 0xEF53;
/// `f_type` of statfs(2), from linux/magic.h and the projects' own headers.
const KNOWN: &[(u64, &str, Option<&str>)] = &[
    (EXT4, "ext4", None),
    (0x5846_5342, "xfs", None),
    (0x9123_683E, "btrfs", Some(COPY_ON_WRITE)),
    (0x2FC1_2FC1, "zfs", Some(COPY_ON_WRITE)),
    (0xCA45_1A4E, "bcachefs", Some(COPY_ON_WRITE)),
    (0x794C_7630, "overlayfs", Some("the layer below may keep the old bytes")),
    (0xF2F5_2010, "f2fs", Some(LOG)),
    (0x3434, "nilfs2", Some(LOG)),
    (0x0102_1994, "tmpfs", Some("it is lost at power-off, and all data with it")),
    (0x8584_58F6, "ramfs", Some("it is lost at power-off, and all data with it")),
    (0x6969, "nfs", Some(NETWORK)),
    (0xFF53_4D42, "cifs", Some(NETWORK)),
    (0xFE53_4D42, "smb", Some(NETWORK)),
    (0x0102_1997, "9p", Some(NETWORK)),
    (0x00C3_6400, "ceph", Some(NETWORK)),
    (0x6573_5546, "fuse", Some("the program behind it may keep the old bytes")),
];

/// Judges the file system that holds `path`, which must exist.
pub(super) fn judge(path: &Path) -> Result<Verdict> {
    let stat = rustix::fs::statfs(path)
        .map_err(|e| Error::io(format!("statfs {}", path.display()), e.into()))?;
    #[expect(clippy::cast_sign_loss, reason = "a magic number's bits")]
    let magic = stat.f_type as u64 & 0xFFFF_FFFF;
    let device = std::fs::metadata(path).map_err(|e| Error::io(path.display(), e))?.dev();
    let mut verdict =
        mounted_so(magic, || ext4_options(device, Path::new("/proc"), Path::new("/sys")));
    if verdict.objection.is_none() {
        verdict.objection = kept("the directory", path, File::open(path))?;
    }
    Ok(verdict)
}

/// Why what is overwritten in one of these files may stay on a file system that overwrites in
/// place; those that are not there say nothing.
pub(super) fn judge_files(dir: &Path, names: &[&str]) -> Result<Option<String>> {
    for name in names {
        let path = dir.join(name);
        if path.symlink_metadata().is_ok()
            && let Some(objection) = kept(&format!("the slot {name}"), &path, open_to_read(&path))?
        {
            return Ok(Some(objection));
        }
    }
    Ok(None)
}

fn kept(what: &str, path: &Path, opened: io::Result<File>) -> Result<Option<String>> {
    match opened.and_then(|file| keeps_old_bytes(&file)) {
        Ok(why) => Ok(why.map(|why| format!("{what} {why}"))),
        Err(e) if cannot_say(&e) => {
            Ok(Some(format!("{what} does not tell its flags, or where its blocks lie")))
        }
        Err(e) => Err(Error::io(path.display(), e)),
    }
}

/// Judges a file system by its magic number and, if it is an ext4, by the options of its mount.
fn mounted_so(magic: u64, options: impl FnOnce() -> Option<Vec<String>>) -> Verdict {
    let mut verdict = by_magic(magic);
    if magic == EXT4 {
        verdict.objection = match options() {
            None => Some("its mount options cannot be read in /proc, and with data=journal it keeps old bytes".into()),
            Some(options) if keeps_data_in_the_journal(&options) => {
                Some("mounted with data=journal it keeps old bytes in its journal".into())
            }
            Some(_) => None,
        };
    }
    verdict
}

fn by_magic(magic: u64) -> Verdict {
    match KNOWN.iter().find(|(m, ..)| *m == magic) {
        Some((_, name, objection)) => {
            Verdict { name: (*name).into(), objection: objection.map(Into::into) }
        }
        None => Verdict {
            name: format!("type {magic:#x}"),
            objection: Some("nobody has looked whether it overwrites in place".into()),
        },
    }
}

/// The options of the mount with this device number, as the kernel lists them in two places: a
/// default from the superblock is only in the second. `None` if one of them cannot be read.
fn ext4_options(device: u64, proc: &Path, sys: &Path) -> Option<Vec<String>> {
    let wanted = format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device));
    let mounts = std::fs::read_to_string(proc.join("self/mountinfo")).ok()?;
    let mounts = mounted(&mounts, &wanted);
    // The kernel's own name of the device: what was mounted may be another name of it.
    let device = std::fs::read_link(sys.join("dev/block").join(&wanted)).ok();
    let device = device.as_ref().and_then(|at| at.file_name()?.to_str());
    let mut names =
        device.into_iter().chain(mounts.iter().filter_map(|(source, _)| source.rsplit('/').next()));
    let of_device = names.find_map(|name| {
        std::fs::read_to_string(proc.join("fs/ext4").join(name).join("options")).ok()
    });
    let listed = mounts.first().map(|(_, options)| (*options).to_owned())?;
    let others = mounts.iter().skip(1).map(|(_, options)| (*options).to_owned());
    Some([listed, of_device?].into_iter().chain(others).collect())
}

/// Source and super options of the mounts of a device, from the text of mountinfo (proc(5)).
fn mounted<'m>(mountinfo: &'m str, device: &str) -> Vec<(&'m str, &'m str)> {
    let of_line = |line: &'m str| {
        let (mount, rest) = line.split_once(" - ")?;
        let [_type, source, options] = rest.split(' ').collect::<Vec<_>>()[..] else { return None };
        (mount.split(' ').nth(2) == Some(device)).then_some((source, options))
    };
    mountinfo.lines().filter_map(of_line).collect()
}

fn keeps_data_in_the_journal(options: &[String]) -> bool {
    options.iter().any(|o| o.split([',', '\n']).any(|o| o == "data=journal"))
}

#[cfg(test)]
mod tests {
    use rustix::fs::IFlags;

    use super::*;

    #[test]
    fn only_in_place_file_systems_pass() {
        assert_eq!(by_magic(0xEF53).objection, None);
        assert_eq!(by_magic(0x5846_5342).objection, None);
        for (magic, name, objection) in KNOWN.iter().skip(2) {
            assert!(objection.is_some() && by_magic(*magic).objection.is_some(), "{name}");
        }
        assert!(by_magic(0x1234).objection.is_some(), "an unknown file system is refused");
    }

    #[test]
    fn the_options_of_a_mount_are_found() {
        let text = "22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,data=journal\n\
                    23 1 254:1 / /data rw - ext4 /dev/vdb rw,discard\n\
                    24 1 254:1 /sub /more rw master:3 - ext4 /dev/vdb rw\n\
                    25 1 0:5 / /proc rw - proc proc rw\n";
        assert_eq!(mounted(text, "254:0"), [("/dev/vda", "rw,data=journal")]);
        assert_eq!(mounted(text, "254:1"), [("/dev/vdb", "rw,discard"), ("/dev/vdb", "rw")]);
        assert_eq!(mounted(text, "254:2"), []);
        assert!(keeps_data_in_the_journal(&["rw,data=journal".into()]));
        assert!(keeps_data_in_the_journal(&["rw".into(), "rw\ndelalloc\ndata=journal\n".into()]));
        assert!(!keeps_data_in_the_journal(&["rw,data=ordered,nodata=journal".into()]));
    }

    #[test]
    fn the_journal_counts_for_ext4_alone() {
        let options = || Some(vec!["rw,data=journal".to_owned()]);
        assert!(mounted_so(EXT4, options).objection.is_some());
        assert_eq!(mounted_so(EXT4, || Some(vec!["rw".into()])).objection, None);
        assert!(
            mounted_so(EXT4, || None).objection.is_some(),
            "what cannot be read counts against it"
        );
        assert_eq!(mounted_so(0x5846_5342, options).objection, None);
    }

    #[test]
    fn without_proc_nothing_is_known_of_an_ext4() {
        let root = tempfile::tempdir().unwrap();
        let (proc, sys) = (root.path().join("proc"), root.path().join("sys"));
        let options = || ext4_options(0xFE00, &proc, &sys);
        assert_eq!(options(), None);
        std::fs::create_dir_all(proc.join("self")).unwrap();
        let mountinfo = |text: &str| std::fs::write(proc.join("self/mountinfo"), text).unwrap();
        mountinfo("23 1 7:7 / /data rw - ext4 /dev/loop7 rw\n");
        assert_eq!(options(), None, "the mount is not in sight");
        mountinfo("22 1 254:0 / / rw,relatime - ext4 /dev/root rw,discard\n");
        assert_eq!(options(), None, "defaults of the superblock are not in sight");
        // The kernel knows the device by another name than the mount table.
        std::fs::create_dir_all(proc.join("fs/ext4/vda")).unwrap();
        std::fs::write(proc.join("fs/ext4/vda/options"), "rw\ndata=journal\n").unwrap();
        std::fs::create_dir_all(sys.join("dev/block")).unwrap();
        std::os::unix::fs::symlink("../../devices/vda", sys.join("dev/block/254:0")).unwrap();
        assert!(keeps_data_in_the_journal(&options().unwrap()));
        assert!(options().unwrap().contains(&"rw,discard".to_owned()));
    }

    #[test]
    fn a_file_system_is_known_by_its_number() {
        assert_eq!(judge(Path::new("/proc")).unwrap().name, "type 0x9fa0");
    }

    #[test]
    fn a_directory_whose_data_goes_into_the_journal_is_refused() {
        let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let file = std::fs::File::open(dir.path()).unwrap();
        // Only the owner of an ext4 may, and only root.
        if rustix::fs::ioctl_getflags(&file)
            .and_then(|f| rustix::fs::ioctl_setflags(&file, f | IFlags::JOURNALING))
            .is_ok()
        {
            assert!(judge(dir.path()).unwrap().objection.is_some_and(|o| o.contains("+j")));
        }
    }

    #[test]
    fn where_the_root_is_an_ext4_its_options_are_seen() {
        let root = Path::new("/");
        if judge(root).unwrap().name == "ext4" {
            let device = std::fs::metadata(root).unwrap().dev();
            let options = ext4_options(device, Path::new("/proc"), Path::new("/sys")).unwrap();
            assert!(options.iter().any(|o| o.contains("rw") || o.contains("ro")));
        }
    }
}
