# The words of the page. Plain, kind, exact: what was seen, not what was asked.
language = English

# The frame
nav-label = Pages
nav-kept = What is kept
nav-how-long = How long
nav-proofs = Proofs
nav-sure = How sure?
to-content = To the content
sign-out = Sign out
signed-in = You are signed in to { $name }’s page until { $until }. Times are those of { $zone }.
signed-in-guardian = You are signed in to { $name }’s page, which you look after, until { $until }. Times are those of { $zone }.

# Coming in
enter-title = { $who ->
    [guardian] A page that you look after
   *[other] Your voice, your say
}
enter-lead = { $who ->
    [guardian] Here you hear what we keep about { $name }, and erase what you like.
   *[other] Here you hear what we keep about you, and erase what you like.
}
enter-button = { $who ->
    [guardian] Open the page
   *[other] Open my page
}
enter-again = Press the button once more. If you then see this again, this browser keeps no cookies: allow them for this page.
enter-once = This link works once, and for ten minutes.
switch-title = Another page is open here
switch-lead = This browser shows the page of { $now }. The link leads to that of { $then }. Go on only if you asked for this link yourself.
switch-button = Show the other page
switch-back = Stay where I am
ended-title = This link has ended
ended-lead = A link works once and for ten minutes. Ask the application that gave it to you for a new one.
ended-proofs = What was being erased when it ended is erased. Here is the proof of it; keep it, it is shown here for a day.
closed-title = No page is open here
closed-lead = A page is opened by a link. Ask the application that you use for one.
left-title = You are signed out
left-lead = This browser was told to keep nothing of what the page showed. Ask your application for a link to come back.
gone-page-title = There is no such page
gone-page-lead = What it showed may have been erased.
root-title = A service that keeps and erases what people say
root-lead = Each person has a page here, where they hear and erase what is kept about them. Their application gives them the link.
root-page = To the page
root-docs = For programs: the interface

# Days and times
today = Today, { $day }
yesterday = Yesterday, { $day }
day = { $weekday }, { $day }
date = { $day } { $month }
date-year = { $day } { $month } { $year }
moment = { $date }, { $time }
weekday-1 = Monday
weekday-2 = Tuesday
weekday-3 = Wednesday
weekday-4 = Thursday
weekday-5 = Friday
weekday-6 = Saturday
weekday-7 = Sunday
month-1 = January
month-2 = February
month-3 = March
month-4 = April
month-5 = May
month-6 = June
month-7 = July
month-8 = August
month-9 = September
month-10 = October
month-11 = November
month-12 = December

# How many of what
count-audio = { $n ->
    [one] { $n } recording
   *[other] { $n } recordings
}
count-transcript = { $n ->
    [one] { $n } transcript
   *[other] { $n } transcripts
}
count-action = { $n ->
    [one] { $n } action
   *[other] { $n } actions
}
count-certificate = { $n ->
    [one] { $n } proof
   *[other] { $n } proofs
}
count-other = { $n } of the kind { $class }
count-no-proof = { $n ->
    [one] { $n } thing that is kept among the proofs and is none
   *[other] { $n } things that are kept among the proofs and are none
}
quoted = “{ $text }”
size-bytes = { $n ->
    [one] { $n } byte
   *[other] { $n } bytes
}
size-kb = { $n } KB
size-mb = { $n } MB
kind-audio = recordings
kind-transcript = transcripts
kind-action = actions
kind-certificate = proofs
and = { $some } and { $last }

# The list
list-title = { $who ->
    [guardian] What we keep about { $name }
   *[other] What we keep about you
}
list-lead = { $what }, the oldest of { $since }. Listen, read, and erase what you like: one, some, a day, or everything.
list-nothing-title = Nothing is kept.
list-nothing-lead = What is kept later is listed here.
list-none-of = Nothing of this kind, or from that time, is kept.
show-kind = Show
show-all = everything
show-until = Until the day
show-device = From the device
show-all-devices = any
show-button = Show
older = Older
newest = Back to the newest
erase-day = Erase this day
erase-day-label = Erase this day: { $day }
erase-kind = Erase all { $kind }
erase-one = Erase
erase-one-label = Erase “{ $text }”, { $time }
select-one = Select “{ $text }”, { $time }
selected = { $n ->
    [0] Nothing is selected.
    [one] { $n } is selected.
   *[other] { $n } are selected.
}
selected-unknown = Tick what is to go.
erase-selected = Erase what is selected
erase-all-title = Everything at once
erase-all-lead = You see first what would go. Nothing is erased by this button.
erase-all = Erase everything …
download-all = Download everything
unnamed = entry of { $time }
listen = Recording, { $time }
listen-long = Recording, { $time }, { $length } long
recording = Recording
recording-long = Recording, { $length }
file = { $kind } ({ $size })
read-it = Open it
save-it = Download it
text-cut = … (the rest is in the download)
named-hint = Opening this is written down, as every opening of it is.
kept-for = Kept for: { $purpose }.
kept-for-until = Kept for: { $purpose }, until { $until }.
kept-until = Kept until { $until }.
kept-open = { $who ->
    [person] Kept until you erase it.
   *[other] Kept until it is erased.
}
kept-part = Some or all of it goes { $when }.
kept-number = It may go sooner: only so many of its kind are kept.
kept-held = A legal hold keeps it, for as long as the hold lasts.
kept-for-held = Kept for: { $purpose }. A legal hold keeps it, for as long as the hold lasts.
from-device = From the device: { $device }
held = under a legal hold
goes-on = goes on { $when }
opened-by = { $n ->
    [0] Nobody is known to have opened it.
    [one] Opened once
   *[other] Opened { $n } times
}
opened-row = { $by }, for: { $why }, { $when }
opened-person = { $who ->
    [guardian] { $name }, on their page
   *[other] you, on this page
}
opened-guardian = { $guardian }, who looks after this profile
opened-on-page = to hear or read it on the page
playing = playing
row-erased = Erased. It is gone now.
planned-title = { $n ->
    [one] One thing is going to be erased
   *[other] { $n } things are going to be erased
}
planned-row = On { $when }: { $what }.
planned-held = A legal hold covers some of it: it stays unless the hold ends before.
planned-cancel = Call it off
planned-cancel-label = Call it off: { $what }
planned-child = Only the person who looks after this profile can call off what is planned.
cancelled = Called off: that erasure will not happen.
cancel-late = That is no longer planned: it was called off before, or it was erased.

# What an erase names
what-turn = the entry of { $when }
what-turns = { $n ->
    [one] what you selected
   *[other] { $n } things that you selected
}
what-part = a part of the entry of { $when }
what-record = a single record
what-day = all of { $day }
what-between = { $what }, from { $from } until { $until }
what-from = { $what }, from { $from }
what-before = { $what }, before { $until }
what-class = all { $kind }
what-all = everything
what-except = { $what }, except { $kept }
what-nothing-title = Nothing was selected
what-nothing-lead = Tick what is to go, then press the button again. Nothing was erased.
what-unclear-lead = A part of what was named is not known here, so nothing was done at all. Go back to the list and name it again.
what-many-lead = At most { $n } can be selected at one time. You selected more, so nothing was done at all.
refused-title = That is not for you to do

# Before it is erased
ask-title = Erase { $what }?
ask-lead = Nothing is erased yet. This is what would go, and what would stay.
goes-title = What goes
goes-derived = { $n ->
    [one] { $n } more that was made from it
   *[other] { $n } more that were made from it
}
goes-derived-up-to = up to { $n } more that were made from it
goes-following = And everything else made from it.
goes-text = What was made from a recording goes with it: no transcript is left over.
goes-text-unless = What was made from a recording goes with it: no transcript is left over, unless you keep it below.
goes-nothing = Nothing of it is here any more.
goes-unknown = Damaged pages keep us from counting. What is named goes all the same.
stays-title = What stays
stays-choose = You may keep some of it. What you keep will no longer be erased with it.
stays-most = At most { $n } kinds can be kept at one time.
stays-keep = Keep the { $what }
stays-many-lead = { $n ->
    [0] All of one kind goes whole: nothing of it can be kept. Nothing was erased.
   *[other] At most { $n } kinds can be kept at one time. You ticked more, so nothing was erased. Go back, and tick fewer or erase less at once.
}
stays-child-lead = What you keep would no longer be erased with what it was made from. Only the person who looks after this profile can keep it longer. Nothing was erased.
stays-reason = { $who ->
    [guardian] the guardian asked to keep it
   *[other] the person asked to keep it
}
stays-proofs = { $n ->
    [one] One proof of an earlier erasure stays.
   *[other] { $n } proofs of earlier erasures stay.
}
stays-left = { $n ->
    [one] One more thing that is kept among the proofs and is none stays: so many do not go at one time. Erase the day again.
   *[other] { $n } more things that are kept among the proofs and are none stay: so many do not go at one time. Erase the day again.
}
stays-rest = Everything else stays as it is.
stays-nothing = { $who ->
    [guardian] Nothing about { $name } is kept, not even the proofs of earlier erasures: download them first if you want them.
   *[other] Nothing about you is kept, not even the proofs of earlier erasures: download them first if you want them.
}
held-title = It cannot be erased now
held-lead = A legal hold covers some of it. Nothing goes until the hold is lifted; then you can ask again.
held-row = { $reason }, ordered by { $authority }, since { $since }
held-needed = { $n ->
    [one] One thing has to stay because something that was made from it is held.
   *[other] { $n } things have to stay because something that was made from them is held.
}
later-title = In 7 days
later-lead = It will be erased on { $when }, or earlier if a retention rule removes it first. You can call it off until then.
later-lead-child = It will be erased on { $when }, or earlier if a retention rule removes it first. Only the person who looks after this profile can call it off.
later-button = Erase in 7 days
now-title = Now, for good
now-lead = It goes at once, from our backups with it, and nobody can undo that. You are told then whether it is final, and what limits it.
now-button = Erase now, for good
back-nothing = Back, erase nothing

# After
done-title = Gone now, also from our backups.
done-pending-title = Gone from here. Not yet for good.
done-pending-lead = Nobody can open it here any more. Until the last key is destroyed, whoever holds the keys and an old backup still could.
done-pending-until = That is over by { $when }.
done-awaited = It is not finished: something that it takes is out of reach now, a copy or a holder of keys. Once that is back, it is finished by itself. Then the proof of it is here and among the proofs, until this session ends.
done-already-title = It was gone before.
done-already-lead = Nothing of it was left to erase.
done-lead = { $n ->
    [one] { $what }. Nobody can open it any more, here or from a backup.
   *[other] { $what }. Nobody can open them any more, here or from a backup.
}
done-lead-limited = { $n ->
    [one] { $what }. Nobody can open it any more, here or from a backup, within the limits that are listed below.
   *[other] { $what }. Nobody can open them any more, here or from a backup, within the limits that are listed below.
}
done-lead-pending = { $what }.
done-lead-unknown = How much it was could not be counted. Nobody can open it any more, here or from a backup.
done-lead-unknown-limited = How much it was could not be counted. Nobody can open it any more, here or from a backup, within the limits that are listed below.
done-lead-unknown-pending = How much it was could not be counted.
done-derived = { $n ->
    [one] { $n } that was made from it went with it.
   *[other] { $n } that were made from it went with it.
}
done-following = More that was made from it went with it; it can no longer be read, and leaves the lists soon.
done-kept = Kept, as you wished: { $what }.
done-limits = What limits this
done-what = What was named: { $what }.
level-L0 = Traces of the old key may remain on the disk of the machine that used it, or in a snapshot of that disk.
level-L1 = That the old key is gone holds as far as the maker of the device that held it is right about the device.
level-L2 = That the old key is gone holds as far as the operator of the key service that held it is right about its backups.
level-L3 = That the old key is gone holds while fewer keyholders than are needed kept their share, against what they signed.
exact-words = The exact words
reason-window = The old key waits for other erasures, until { $when } at the latest. Until then whoever holds the keys and an old copy can still read it.
reason-waiting = It is not said yet that the old key is destroyed. Until then whoever can get at that key can still read it.
reason-scheduled = The old key is destroyed on { $when }. Until then whoever can get at that key can still read it.
reason-stated = { $n } of the { $needed } statements that are needed are there, by { $of } keyholders. Until then { $few } of them may have enough shares of the old key.
reason-stated-earlier = { $n } of the { $needed } statements that are needed are there, by { $of } keyholders. Until then { $few } of them may have enough shares of the key of epoch { $epoch }, which reached it too.
reason-remnants = The key was on a medium that is known to keep old bytes: the old key may be left on it.
reason-memory = The key was in the memory of a program, which may have been written elsewhere.
reason-openings = { $n ->
    [one] Before that, something of this person was opened by name once, here or elsewhere: what was taken along then is out of reach.
   *[other] Before that, things of this person were opened by name { $n } times, here or elsewhere: what was taken along then is out of reach.
}
reason-openings-hidden = Damaged pages hide who had opened something before.
reason-grants = { $n ->
    [one] Somebody else was allowed to open things of this person: what they opened before is out of reach.
   *[other] { $n } others were allowed to open things of this person: what they opened before is out of reach.
}
reason-uncounted = Damaged pages kept it from being counted; none of it can be read.
reason-following = Names of things that were made from it, not their content, were still in lists.
later-done-title = It goes on { $when }.
later-done-lead = You can call it off in the list until then. A retention rule may remove it sooner.
later-done-child = Only the person who looks after this profile can call it off. A retention rule may remove it sooner.
later-held-title = It is planned for { $when }.
later-some-title = Some of it goes on { $when }.
later-some-lead = Not all of it could be planned. What is planned is in the list.
later-kept = It stays then, as you wished: { $what }.
later-done-proof = Once it is gone, the proof of it is among the proofs.
unsure-title = This may have been done
unsure-lead = The service cannot say now whether it was done. The list shows it: look there before it is tried again.
unshown-title = This cannot be shown now
unshown-lead = The service could not read what belongs here. Nothing was changed; try again in a while.
failed-title = Not everything was erased
failed-nothing-title = Nothing was erased
failed-held = A legal hold covers some of it. It stays until the hold is lifted.
failed-other = The service could not do it now. What is still listed is still there; try again.
failed-clock = The clock of the service may be wrong, so nothing is planned by it. You can erase now, for good.
failed-limit = So much is planned already that this does not fit, so none of it was planned. You can erase now, for good.
back-list = Back to what is kept

# Proofs
proof-title = The proof
proofs-several = The proofs
proof-lead = A small file that shows that this was done. It holds on its own: you can check it in ten years, without us.
proof-download = Download the proof
proof-check = Check it here
proof-read = Read the proof
proofs-title = Proofs
proofs-lead = Each shows that something was erased. They are kept with everything else, and go when everything is erased.
proofs-none = Nothing was erased yet, or its proof went with everything else.
proof-of = Proof of { $when }
proof-to-come = On { $when } comes the proof of what is planned: { $what }.
proof-awaited = Erased here, and not final yet: { $what }. The proof of it is awaited.
code-title = Keep this code for the proof
code-lead = What goes takes the proofs with it, so none can wait among them. Once it is gone, this code opens its proof, for 400 days. We keep it nowhere: print this page or write the code down.
code-where = No link is needed for it. Enter the code at
code-have = I have the code of a proof
code-ask-title = A proof by its code
code-ask-lead = Something was going to be erased later, and you were told a code for the proof of it. Enter it here.
code-label = Code
code-button = Show the proof
code-pace = That was too often. Wait a few seconds, then try again.
code-none = Nothing lies under this code. What it is for may not be due yet, or was called off; look at each letter and digit again.
check-title = Check a proof
check-lead = The check runs in this browser. Nothing is sent, and it works with the network off.
check-file = The file of the proof
check-key = The public key of the log
check-key-hint = This is the key of this service. Compare it with one that you have from elsewhere: then you need not take our word for it.
check-noscript = This browser runs no scripts. The program keyfall-verify checks the file as well.
check-running = Checking …
check-final = The proof holds. What it names is gone.
check-limited = The proof holds. What it names is gone, within these limits:
check-pending = The proof holds, and says that it is not final yet:
check-refused = This proof does not hold.
check-other = { $who ->
    [guardian] This proof is not about { $name }.
   *[other] This proof is not about you.
}
check-whose = About
check-what = Erased
check-count = How much
check-kept = Kept
check-when = Asked for
check-unsaid = it does not say
check-old = This browser is too old to check it. The program keyfall-verify does.
check-local = Checked in this browser; nothing was sent.

# How long
keep-title = How long it is kept
keep-lead = Choose once. It holds for what is there, and for what comes of the same kinds.
keep-legend = For how long
keep-nothing = Not at all
keep-nothing-lead = No longer than the answer takes: it is erased after ten minutes.
keep-day = 1 day
keep-day-lead = Until the same time on the next day.
keep-months = 3 months
keep-months-lead = 92 days: long enough to find it again.
keep-open = { $who ->
    [person] Until I erase it
   *[other] Until it is erased
}
keep-open-lead = It does not end by itself.
keep-open-store = As long as this service keeps anything: { $span }.
keep-open-some = As long as this service keeps each kind. For some kinds that has an end.
keep-open-sooner = It ends when it is erased, or by a rule for a number or a date.
keep-too-long = This service does not keep anything that long.
keep-too-long-some = This service does not keep every kind that long.
keep-child = Only the person who looks after this profile can make it longer.
keep-other = At present: { $what }
keep-other-days = { $n ->
    [one] { $n } day
   *[other] { $n } days
}
keep-other-mixed = not the same for all kinds
keep-other-hours = { $n ->
    [one] { $n } hour
   *[other] { $n } hours
}
keep-other-minutes = { $n ->
    [one] { $n } minute
   *[other] { $n } minutes
}
keep-other-seconds = { $n ->
    [one] { $n } second
   *[other] { $n } seconds
}
keep-sooner = For some kinds a rule also sets a number or a date: what passes it goes sooner, whatever is chosen here.
keep-service = What this service keeps for a shorter time goes sooner.
keep-held = What a legal hold covers stays for as long as the hold lasts.
keep-button = Save
keep-done = From now on: { $what }.
keep-some = Only a part of it is set: the service could not set the rest now. Save it once more later.
keep-later = What is older than that may not all be gone yet. It goes as soon as the service can do it.
keep-same = It stays as it was: { $what }.
keep-falls-title = Some of it goes now
keep-falls = { $n ->
    [one] { $n } thing is older than that. It goes at once, for good, with what was made from it.
   *[other] { $n } things are older than that. They go at once, for good, with what was made from them.
}
keep-falls-alone = { $n ->
    [one] { $n } thing is older than that. It goes at once, for good. What was made from it may stay: a rule keeps it.
   *[other] { $n } things are older than that. They go at once, for good. What was made from them may stay: a rule keeps it.
}
keep-falls-button = Save, and erase what is older
child-title = A child’s profile
child-lead = What a child says is kept for a day at most: recordings, transcripts, actions, and each other kind of which something is there now. The child can hear it and erase it, and cannot make it longer.
child-button = Make this a child’s profile
child-done = This is a child’s profile now: a day at most.

# How sure
sure-title = How sure is “gone”?
sure-lead = Here is what we promise, in plain words, and what we cannot.
sure-how-title = How it works
sure-how = Everything that is kept here is locked, and every lock has a key of its own. Copies and backups hold only what is locked. To erase is to destroy the key. What it locked is then noise, in every copy, wherever it is.
sure-key-title = Where the last key is
sure-key = { $kind ->
    [file] The last key is in a file on the machine of this service. To destroy it, the machine overwrites that file.
    [memory] The last key is in the memory of this service alone. To destroy it, the service forgets it.
    [quorum] The last key is nowhere whole: keyholders have shares of it. To destroy it, they destroy their shares, and sign that they did.
   *[other] The last key is held by: { $kind }.
}
sure-copies = { $n ->
    [0] There are no further copies that this service knows of.
    [one] There is one further copy. It needs nothing to be done for what is erased to be gone from it.
   *[other] There are { $n } further copies. They need nothing to be done for what is erased to be gone from them.
}
sure-not-title = What we cannot promise
sure-not-1 = That nobody copied something before it was erased: whoever opened it is listed with it, as far as they said who they are.
sure-not-2 = That this service runs the program that it says it runs. The proof is signed, so that it can be held against us.
sure-not-3 = That nothing is kept elsewhere: this page shows what is kept here.
sure-proof = Every erasure gives a proof, which can be checked without us.
history-title = What was done with it
history-none = Nothing beyond keeping and erasing.
history-kept = Kept when the rest was erased: { $what }. Reason: { $reason }
history-held = A legal hold was added. Reason: { $reason }, ordered by { $authority }
history-lifted = A legal hold was lifted. Reason: { $reason }, ordered by { $authority }
history-refused = An erasure was refused because of a hold, { $n ->
    [one] once
   *[other] { $n } times
}
history-planned = An erasure was planned for { $when }
history-cancelled = A planned erasure was called off
history-failed = A planned erasure could not be done; it is tried again each hour
history-detached = Something was made to stand alone. Reason: { $reason }
history-other = Something else: { $what }
shared-title = Who else may open it
shared-none = Nobody else.
shared-row = { $who }, for: { $why }

# What is downloaded
archive-title = What was kept of { $name }
archive-lead = As it was on { $when }: { $what }. It is all in this folder, and nothing is fetched from elsewhere.
archive-nothing = nothing
archive-report = The report, as data
archive-back = Back to the list
