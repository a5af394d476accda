# Die Wörter der Seite. Schlicht, freundlich, genau: was gesehen wurde, nicht was verlangt war.
language = Deutsch

# Der Rahmen
nav-label = Seiten
nav-kept = Aufbewahrt
nav-how-long = Wie lange
nav-proofs = Nachweise
nav-sure = Wie sicher?
to-content = Zum Inhalt
sign-out = Abmelden
signed-in = Sie sind bis { $until } auf der Seite von { $name } angemeldet. Zeiten gelten für { $zone }.
signed-in-guardian = Sie sind bis { $until } auf der Seite von { $name } angemeldet, die Sie betreuen. Zeiten gelten für { $zone }.

# Hereinkommen
enter-title = { $who ->
    [guardian] Eine Seite, die Sie betreuen
   *[other] Ihre Stimme, Ihre Entscheidung
}
enter-lead = { $who ->
    [guardian] Hier hören Sie, was wir von { $name } aufbewahren, und löschen, was Sie möchten.
   *[other] Hier hören Sie, was wir von Ihnen aufbewahren, und löschen, was Sie möchten.
}
enter-button = { $who ->
    [guardian] Die Seite öffnen
   *[other] Meine Seite öffnen
}
enter-again = Drücken Sie den Knopf noch einmal. Sehen Sie das dann wieder, so behält dieser Browser keine Cookies: Erlauben Sie sie für diese Seite.
enter-once = Dieser Link gilt einmal und zehn Minuten lang.
switch-title = Hier ist eine andere Seite offen
switch-lead = Dieser Browser zeigt die Seite von { $now }. Der Link führt zu der von { $then }. Gehen Sie nur weiter, wenn Sie selbst um diesen Link gebeten haben.
switch-button = Die andere Seite zeigen
switch-back = Hier bleiben
ended-title = Dieser Link gilt nicht mehr
ended-lead = Ein Link gilt einmal und zehn Minuten lang. Die Anwendung, die ihn gab, gibt Ihnen einen neuen.
ended-proofs = Was gerade gelöscht wurde, als er endete, ist gelöscht. Hier ist der Nachweis; heben Sie ihn auf, er steht hier einen Tag lang.
closed-title = Hier ist keine Seite offen
closed-lead = Eine Seite öffnet sich mit einem Link. Die Anwendung, die Sie benutzen, gibt Ihnen einen.
left-title = Sie sind abgemeldet
left-lead = Diesem Browser wurde gesagt, nichts von dem zu behalten, was die Seite zeigte. Ihre Anwendung gibt Ihnen einen Link, um wiederzukommen.
gone-page-title = Diese Seite gibt es nicht
gone-page-lead = Was sie zeigte, wurde vielleicht gelöscht.
root-title = Ein Dienst, der aufbewahrt und löscht, was Menschen sagen
root-lead = Jeder Mensch hat hier eine Seite, auf der er hört und löscht, was von ihm aufbewahrt wird. Den Link gibt die Anwendung.
root-page = Zur Seite
root-docs = Für Programme: die Schnittstelle

# Tage und Zeiten
today = Heute, { $day }
yesterday = Gestern, { $day }
day = { $weekday }, { $day }
date = { $day }. { $month }
date-year = { $day }. { $month } { $year }
moment = { $date }, { $time } Uhr
weekday-1 = Montag
weekday-2 = Dienstag
weekday-3 = Mittwoch
weekday-4 = Donnerstag
weekday-5 = Freitag
weekday-6 = Samstag
weekday-7 = Sonntag
month-1 = Januar
month-2 = Februar
month-3 = März
month-4 = April
month-5 = Mai
month-6 = Juni
month-7 = Juli
month-8 = August
month-9 = September
month-10 = Oktober
month-11 = November
month-12 = Dezember

# Wie viel wovon
count-audio = { $n ->
    [one] { $n } Aufnahme
   *[other] { $n } Aufnahmen
}
count-transcript = { $n ->
    [one] { $n } Mitschrift
   *[other] { $n } Mitschriften
}
count-action = { $n ->
    [one] { $n } Handlung
   *[other] { $n } Handlungen
}
count-certificate = { $n ->
    [one] { $n } Nachweis
   *[other] { $n } Nachweise
}
count-other = { $n } der Art { $class }
count-no-proof = { $n ->
    [one] { $n } Ding, das bei den Nachweisen liegt und keiner ist
   *[other] { $n } Dinge, die bei den Nachweisen liegen und keine sind
}
quoted = „{ $text }“
size-bytes = { $n } Byte
size-kb = { $n } KB
size-mb = { $n } MB
kind-audio = Aufnahmen
kind-transcript = Mitschriften
kind-action = Handlungen
kind-certificate = Nachweise
and = { $some } und { $last }

# Die Liste
list-title = { $who ->
    [guardian] Was wir von { $name } aufbewahren
   *[other] Was wir von Ihnen aufbewahren
}
list-lead = { $what }, das Älteste vom { $since }. Hören Sie, lesen Sie, und löschen Sie, was Sie möchten: eines, mehreres, einen Tag oder alles.
list-nothing-title = Es wird nichts aufbewahrt.
list-nothing-lead = Was später aufbewahrt wird, steht hier.
list-none-of = Von dieser Art oder aus dieser Zeit wird nichts aufbewahrt.
show-kind = Zeigen
show-all = alles
show-until = Bis zum Tag
show-device = Vom Gerät
show-all-devices = jedem
show-button = Zeigen
older = Älteres
newest = Zurück zum Neuesten
erase-day = Diesen Tag löschen
erase-day-label = Diesen Tag löschen: { $day }
erase-kind = Alle { $kind } löschen
erase-one = Löschen
erase-one-label = „{ $text }“ löschen, { $time }
select-one = „{ $text }“ auswählen, { $time }
selected = { $n ->
    [0] Nichts ist ausgewählt.
    [one] { $n } ist ausgewählt.
   *[other] { $n } sind ausgewählt.
}
selected-unknown = Haken Sie an, was gehen soll.
erase-selected = Ausgewähltes löschen
erase-all-title = Alles auf einmal
erase-all-lead = Sie sehen zuerst, was ginge. Dieser Knopf löscht noch nichts.
erase-all = Alles löschen …
download-all = Alles herunterladen
unnamed = Eintrag von { $time }
listen = Aufnahme, { $time }
listen-long = Aufnahme, { $time }, { $length } lang
recording = Aufnahme
recording-long = Aufnahme, { $length }
file = { $kind } ({ $size })
read-it = Öffnen
save-it = Herunterladen
text-cut = … (der Rest ist im Herunterladen enthalten)
named-hint = Das Öffnen wird vermerkt, wie jedes Öffnen davon.
kept-for = Aufbewahrt für: { $purpose }.
kept-for-until = Aufbewahrt für: { $purpose }, bis { $until }.
kept-until = Aufbewahrt bis { $until }.
kept-open = { $who ->
    [person] Aufbewahrt, bis Sie es löschen.
   *[other] Aufbewahrt, bis es gelöscht wird.
}
kept-part = Einiges oder alles davon geht am { $when }.
kept-number = Es kann früher gehen: Von seiner Art wird nur eine bestimmte Anzahl aufbewahrt.
kept-held = Es ist gerichtlich festgehalten und bleibt, solange das dauert.
kept-for-held = Aufbewahrt für: { $purpose }. Es ist gerichtlich festgehalten und bleibt, solange das dauert.
from-device = Vom Gerät: { $device }
held = gerichtlich festgehalten
goes-on = geht am { $when }
opened-by = { $n ->
    [0] Es ist nicht bekannt, dass es jemand geöffnet hat.
    [one] Einmal geöffnet
   *[other] { $n } Mal geöffnet
}
opened-row = { $by }, für: { $why }, { $when }
opened-person = { $who ->
    [guardian] { $name }, auf der eigenen Seite
   *[other] Sie, auf dieser Seite
}
opened-guardian = { $guardian }, mit der Betreuung dieses Profils
opened-on-page = um es auf der Seite zu hören oder zu lesen
playing = läuft
row-erased = Gelöscht. Es ist jetzt weg.
planned-title = { $n ->
    [one] Eines wird gelöscht werden
   *[other] { $n } werden gelöscht werden
}
planned-row = Am { $when }: { $what }.
planned-held = Einiges davon ist gerichtlich festgehalten: Es bleibt, wenn das nicht vorher endet.
planned-cancel = Absagen
planned-cancel-label = Absagen: { $what }
planned-child = Nur wer dieses Profil betreut, kann absagen, was geplant ist.
cancelled = Abgesagt: Diese Löschung findet nicht statt.
cancel-late = Das ist nicht mehr geplant: Es wurde schon abgesagt, oder es ist gelöscht.

# Was gelöscht wird
what-turn = der Eintrag vom { $when }
what-turns = { $n ->
    [one] das Ausgewählte
   *[other] { $n } ausgewählte Dinge
}
what-part = ein Teil des Eintrags vom { $when }
what-record = ein einzelner Eintrag
what-day = alles vom { $day }
what-between = { $what }, vom { $from } bis zum { $until }
what-from = { $what }, vom { $from } an
what-before = { $what }, vor dem { $until }
what-class = alle { $kind }
what-all = alles
what-except = { $what }, bis auf { $kept }
what-nothing-title = Nichts war ausgewählt
what-nothing-lead = Haken Sie an, was gehen soll, und drücken Sie den Knopf noch einmal. Gelöscht wurde nichts.
what-unclear-lead = Ein Teil des Genannten ist hier nicht bekannt, darum wurde gar nichts getan. Gehen Sie zurück zur Liste und nennen Sie es noch einmal.
what-many-lead = Auf einmal lassen sich höchstens { $n } auswählen. Sie haben mehr ausgewählt, darum wurde gar nichts getan.
refused-title = Das können Sie hier nicht tun

# Bevor gelöscht wird
ask-title = Löschen: { $what }?
ask-lead = Noch ist nichts gelöscht. So viel ginge, und so viel bliebe.
goes-title = Was geht
goes-derived = { $n ->
    [one] { $n } weiteres, das daraus gemacht wurde
   *[other] { $n } weitere, die daraus gemacht wurden
}
goes-derived-up-to = bis zu { $n } weitere, die daraus gemacht wurden
goes-following = Und alles Weitere, das daraus gemacht wurde.
goes-text = Was aus einer Aufnahme gemacht wurde, geht mit ihr: Es bleibt keine Mitschrift übrig.
goes-text-unless = Was aus einer Aufnahme gemacht wurde, geht mit ihr: Es bleibt keine Mitschrift übrig, außer Sie behalten sie unten.
goes-nothing = Davon ist nichts mehr da.
goes-unknown = Beschädigte Seiten verhindern das Zählen. Was genannt ist, geht trotzdem.
stays-title = Was bleibt
stays-choose = Sie können einiges davon behalten. Es wird dann nicht mehr mit dem Rest gelöscht.
stays-most = Auf einmal lassen sich höchstens { $n } Arten behalten.
stays-keep = { $what } behalten
stays-many-lead = { $n ->
    [0] Alles von einer Art geht ganz: Davon lässt sich nichts behalten. Gelöscht wurde nichts.
   *[other] Auf einmal lassen sich höchstens { $n } Arten behalten. Sie haben mehr angehakt, darum wurde nichts gelöscht. Gehen Sie zurück, und haken Sie weniger an oder löschen Sie weniger auf einmal.
}
stays-child-lead = Was Sie behalten, würde nicht mehr mit dem gelöscht, woraus es gemacht wurde. Nur wer dieses Profil betreut, kann es länger behalten. Gelöscht wurde nichts.
stays-reason = { $who ->
    [guardian] von der betreuenden Person behalten
   *[other] auf Wunsch der Person behalten
}
stays-proofs = { $n ->
    [one] Ein Nachweis einer früheren Löschung bleibt.
   *[other] { $n } Nachweise früherer Löschungen bleiben.
}
stays-left = { $n ->
    [one] Ein weiteres Ding, das bei den Nachweisen liegt und keiner ist, bleibt: So viele gehen nicht auf einmal. Löschen Sie den Tag noch einmal.
   *[other] { $n } weitere Dinge, die bei den Nachweisen liegen und keine sind, bleiben: So viele gehen nicht auf einmal. Löschen Sie den Tag noch einmal.
}
stays-rest = Alles andere bleibt, wie es ist.
stays-nothing = { $who ->
    [guardian] Von { $name } bleibt nichts, auch keine Nachweise früherer Löschungen: Laden Sie sie vorher herunter, wenn Sie sie möchten.
   *[other] Von Ihnen bleibt nichts, auch keine Nachweise früherer Löschungen: Laden Sie sie vorher herunter, wenn Sie sie möchten.
}
held-title = Es kann jetzt nicht gelöscht werden
held-lead = Einiges davon ist gerichtlich festgehalten. Nichts geht, bis das endet; dann können Sie wieder fragen.
held-row = { $reason }, angeordnet von { $authority }, seit { $since }
held-needed = { $n ->
    [one] Eines muss bleiben, weil etwas daraus Gemachtes festgehalten ist.
   *[other] { $n } müssen bleiben, weil etwas daraus Gemachtes festgehalten ist.
}
later-title = In 7 Tagen
later-lead = Es wird am { $when } gelöscht, oder früher, wenn eine Aufbewahrungsregel es vorher entfernt. Bis dahin können Sie es absagen.
later-lead-child = Es wird am { $when } gelöscht, oder früher, wenn eine Aufbewahrungsregel es vorher entfernt. Nur wer dieses Profil betreut, kann es absagen.
later-button = In 7 Tagen löschen
now-title = Jetzt, endgültig
now-lead = Es geht sofort, aus unseren Sicherungen mit, und niemand kann das rückgängig machen. Dann erfahren Sie, ob es endgültig ist und was dem Grenzen setzt.
now-button = Jetzt endgültig löschen
back-nothing = Zurück, nichts löschen

# Danach
done-title = Jetzt weg, auch aus unseren Sicherungen.
done-pending-title = Von hier weg. Noch nicht endgültig.
done-pending-lead = Hier kann es niemand mehr öffnen. Bis der letzte Schlüssel zerstört ist, könnte es noch, wer die Schlüssel und eine alte Sicherung hat.
done-pending-until = Das endet spätestens am { $when }.
done-awaited = Fertig ist es nicht: Etwas, das es dazu braucht, ist gerade nicht erreichbar, eine Kopie oder wer Schlüssel hält. Sobald das zurück ist, wird es von selbst fertig. Dann steht der Nachweis hier und bei den Nachweisen, bis diese Sitzung endet.
done-already-title = Es war schon weg.
done-already-lead = Davon war nichts mehr zu löschen.
done-lead = { $n ->
    [one] { $what }. Niemand kann es mehr öffnen, weder hier noch aus einer Sicherung.
   *[other] { $what }. Niemand kann sie mehr öffnen, weder hier noch aus einer Sicherung.
}
done-lead-limited = { $n ->
    [one] { $what }. Niemand kann es mehr öffnen, weder hier noch aus einer Sicherung, in den Grenzen, die unten stehen.
   *[other] { $what }. Niemand kann sie mehr öffnen, weder hier noch aus einer Sicherung, in den Grenzen, die unten stehen.
}
done-lead-pending = { $what }.
done-lead-unknown = Wie viel es war, ließ sich nicht zählen. Niemand kann es mehr öffnen, weder hier noch aus einer Sicherung.
done-lead-unknown-limited = Wie viel es war, ließ sich nicht zählen. Niemand kann es mehr öffnen, weder hier noch aus einer Sicherung, in den Grenzen, die unten stehen.
done-lead-unknown-pending = Wie viel es war, ließ sich nicht zählen.
done-derived = { $n ->
    [one] { $n } daraus Gemachtes ging mit.
   *[other] { $n } daraus Gemachte gingen mit.
}
done-following = Mehr daraus Gemachtes ging mit; lesbar ist es nicht mehr, und aus den Listen geht es bald.
done-kept = Behalten, wie Sie wollten: { $what }.
done-limits = Was dem Grenzen setzt
done-what = Genannt war: { $what }.
level-L0 = Spuren des alten Schlüssels können auf der Festplatte der Maschine bleiben, die ihn benutzte, oder in einem Abbild davon.
level-L1 = Dass der alte Schlüssel weg ist, gilt so weit, wie der Hersteller des Geräts, das ihn verwahrte, recht hat, was das Gerät angeht.
level-L2 = Dass der alte Schlüssel weg ist, gilt so weit, wie der Betreiber des Schlüsseldienstes recht hat, was dessen Sicherungen angeht.
level-L3 = Dass der alte Schlüssel weg ist, gilt, solange weniger Schlüsselhalter, als nötig wären, ihren Teil behielten, entgegen dem, was sie unterschrieben haben.
exact-words = Der genaue Wortlaut, auf Englisch
reason-window = Der alte Schlüssel wartet auf andere Löschungen, längstens bis { $when }. Bis dahin kann es noch lesen, wer die Schlüssel und eine alte Kopie hat.
reason-waiting = Noch ist nicht gesagt, dass der alte Schlüssel zerstört ist. Bis dahin kann es noch lesen, wer an diesen Schlüssel kommt.
reason-scheduled = Der alte Schlüssel wird am { $when } zerstört. Bis dahin kann es noch lesen, wer an diesen Schlüssel kommt.
reason-stated = { $n } von { $needed } nötigen Erklärungen sind da, von { $of } Schlüsselhaltern. Bis dahin haben { $few } von ihnen vielleicht genug Teile des alten Schlüssels.
reason-stated-earlier = { $n } von { $needed } nötigen Erklärungen sind da, von { $of } Schlüsselhaltern. Bis dahin haben { $few } von ihnen vielleicht genug Teile des Schlüssels der Epoche { $epoch }, der es auch erreichte.
reason-remnants = Der Schlüssel lag auf einem Speicher, der bekanntlich alte Bytes behält: Der alte Schlüssel ist dort vielleicht noch.
reason-memory = Der Schlüssel lag im Arbeitsspeicher eines Programms, der vielleicht anderswo geschrieben wurde.
reason-openings = { $n ->
    [one] Vorher wurde einmal namentlich etwas von dieser Person geöffnet, hier oder anderswo: Was dabei mitgenommen wurde, ist außer Reichweite.
   *[other] Vorher wurde { $n } Mal namentlich etwas von dieser Person geöffnet, hier oder anderswo: Was dabei mitgenommen wurde, ist außer Reichweite.
}
reason-openings-hidden = Beschädigte Seiten verbergen, wer vorher etwas geöffnet hatte.
reason-grants = { $n ->
    [one] Jemand anderes durfte etwas von dieser Person öffnen: Was vorher geöffnet wurde, ist außer Reichweite.
   *[other] { $n } andere durften etwas von dieser Person öffnen: Was vorher geöffnet wurde, ist außer Reichweite.
}
reason-uncounted = Beschädigte Seiten verhinderten das Zählen; lesbar ist nichts davon.
reason-following = Namen von daraus Gemachtem, nicht der Inhalt, standen noch in Listen.
later-done-title = Es geht am { $when }.
later-done-lead = Bis dahin können Sie es in der Liste absagen. Eine Aufbewahrungsregel kann es früher entfernen.
later-done-child = Nur wer dieses Profil betreut, kann es absagen. Eine Aufbewahrungsregel kann es früher entfernen.
later-held-title = Es ist für den { $when } geplant.
later-some-title = Einiges davon geht am { $when }.
later-some-lead = Nicht alles davon ließ sich planen. Was geplant ist, steht in der Liste.
later-kept = Dann bleibt, wie Sie wollten: { $what }.
later-done-proof = Wenn es weg ist, steht der Nachweis dafür bei den Nachweisen.
unsure-title = Das ist vielleicht geschehen
unsure-lead = Der Dienst kann jetzt nicht sagen, ob es geschehen ist. Die Liste zeigt es: bitte dort nachsehen, bevor es noch einmal versucht wird.
unshown-title = Das kann jetzt nicht gezeigt werden
unshown-lead = Der Dienst konnte nicht lesen, was hierher gehört. Nichts wurde geändert; bitte später noch einmal versuchen.
failed-title = Nicht alles wurde gelöscht
failed-nothing-title = Nichts wurde gelöscht
failed-held = Einiges davon ist gerichtlich festgehalten. Es bleibt, bis das endet.
failed-other = Der Dienst konnte es jetzt nicht tun. Was noch in der Liste steht, ist noch da; versuchen Sie es noch einmal.
failed-clock = Die Uhr des Dienstes geht vielleicht falsch, darum wird nach ihr nichts geplant. Sie können jetzt endgültig löschen.
failed-limit = Es ist schon so viel geplant, dass dies nicht dazu passt; darum wurde nichts davon geplant. Sie können jetzt endgültig löschen.
back-list = Zurück zum Aufbewahrten

# Nachweise
proof-title = Der Nachweis
proofs-several = Die Nachweise
proof-lead = Eine kleine Datei, die zeigt, dass dies getan wurde. Sie gilt für sich: Sie können sie in zehn Jahren prüfen, ohne uns.
proof-download = Nachweis herunterladen
proof-check = Hier prüfen
proof-read = Nachweis lesen
proofs-title = Nachweise
proofs-lead = Jeder zeigt, dass etwas gelöscht wurde. Sie werden mit allem anderen aufbewahrt und gehen, wenn alles gelöscht wird.
proofs-none = Noch wurde nichts gelöscht, oder der Nachweis ging mit allem anderen.
proof-of = Nachweis vom { $when }
proof-to-come = Am { $when } kommt der Nachweis für das Geplante: { $what }.
proof-awaited = Hier gelöscht, noch nicht endgültig: { $what }. Der Nachweis dafür steht noch aus.
code-title = Heben Sie diesen Code für den Nachweis auf
code-lead = Was geht, nimmt die Nachweise mit; darum kann dort keiner warten. Wenn es weg ist, öffnet dieser Code den Nachweis, 400 Tage lang. Wir heben ihn nirgends auf: Drucken Sie diese Seite oder schreiben Sie den Code ab.
code-where = Dafür ist kein Link nötig. Geben Sie den Code hier ein:
code-have = Ich habe den Code eines Nachweises
code-ask-title = Ein Nachweis über seinen Code
code-ask-lead = Etwas sollte später gelöscht werden, und für den Nachweis wurde Ihnen ein Code genannt. Geben Sie ihn hier ein.
code-label = Code
code-button = Nachweis zeigen
code-pace = Das war zu oft. Warten Sie einige Sekunden, und versuchen Sie es dann noch einmal.
code-none = Unter diesem Code liegt nichts. Vielleicht ist, wofür er gilt, noch nicht fällig oder wurde abgesagt; prüfen Sie jeden Buchstaben und jede Ziffer.
check-title = Einen Nachweis prüfen
check-lead = Geprüft wird in diesem Browser. Nichts wird gesendet, und es geht auch ohne Netz.
check-file = Die Datei des Nachweises
check-key = Der öffentliche Schlüssel des Verzeichnisses
check-key-hint = Dies ist der Schlüssel dieses Dienstes. Vergleichen Sie ihn mit einem, den Sie von anderswo haben: Dann müssen Sie uns nicht glauben.
check-noscript = Dieser Browser führt keine Skripte aus. Das Programm keyfall-verify prüft die Datei ebenso.
check-running = Wird geprüft …
check-final = Der Nachweis gilt. Was er nennt, ist weg.
check-limited = Der Nachweis gilt. Was er nennt, ist weg, in diesen Grenzen:
check-pending = Der Nachweis gilt und sagt, dass es noch nicht endgültig ist:
check-refused = Dieser Nachweis gilt nicht.
check-other = { $who ->
    [guardian] Dieser Nachweis betrifft nicht { $name }.
   *[other] Dieser Nachweis betrifft nicht Sie.
}
check-whose = Betrifft
check-what = Gelöscht
check-count = Wie viel
check-kept = Behalten
check-when = Verlangt
check-unsaid = das sagt er nicht
check-old = Dieser Browser ist zu alt, um ihn zu prüfen. Das Programm keyfall-verify kann es.
check-local = In diesem Browser geprüft; nichts wurde gesendet.

# Wie lange
keep-title = Wie lange es aufbewahrt wird
keep-lead = Wählen Sie einmal. Es gilt für das, was da ist, und für alles Weitere dieser Art.
keep-legend = Für wie lange
keep-nothing = Gar nicht
keep-nothing-lead = Nicht länger, als die Antwort dauert: Es wird nach zehn Minuten gelöscht.
keep-day = 1 Tag
keep-day-lead = Bis zur selben Zeit am nächsten Tag.
keep-months = 3 Monate
keep-months-lead = 92 Tage: lange genug, um es wiederzufinden.
keep-open = { $who ->
    [person] Bis ich es lösche
   *[other] Bis es gelöscht wird
}
keep-open-lead = Es endet nicht von selbst.
keep-open-store = So lange, wie dieser Dienst überhaupt aufbewahrt: { $span }.
keep-open-some = So lange, wie dieser Dienst jede Art aufbewahrt. Für einige Arten hat das ein Ende.
keep-open-sooner = Es endet, wenn es gelöscht wird, oder durch eine Regel für eine Anzahl oder ein Datum.
keep-too-long = So lange bewahrt dieser Dienst nichts auf.
keep-too-long-some = So lange bewahrt dieser Dienst nicht jede Art auf.
keep-child = Nur wer dieses Profil betreut, kann es verlängern.
keep-other = Zurzeit: { $what }
keep-other-days = { $n ->
    [one] { $n } Tag
   *[other] { $n } Tage
}
keep-other-mixed = nicht für alle Arten gleich
keep-other-hours = { $n ->
    [one] { $n } Stunde
   *[other] { $n } Stunden
}
keep-other-minutes = { $n ->
    [one] { $n } Minute
   *[other] { $n } Minuten
}
keep-other-seconds = { $n ->
    [one] { $n } Sekunde
   *[other] { $n } Sekunden
}
keep-sooner = Für einige Arten setzt eine Regel auch eine Anzahl oder ein Datum: Was darüber ist, geht früher, was hier auch gewählt ist.
keep-service = Was dieser Dienst kürzer aufbewahrt, geht früher.
keep-held = Was gerichtlich festgehalten ist, bleibt, solange das dauert.
keep-button = Speichern
keep-done = Von jetzt an: { $what }.
keep-some = Nur ein Teil davon gilt: Den Rest konnte der Dienst jetzt nicht setzen. Bitte später noch einmal speichern.
keep-later = Was älter ist, ist vielleicht noch nicht alles weg. Es geht, sobald der Dienst es tun kann.
keep-same = Es bleibt, wie es war: { $what }.
keep-falls-title = Einiges geht jetzt
keep-falls = { $n ->
    [one] { $n } Ding ist älter. Es geht sofort, endgültig, mit dem, was daraus gemacht wurde.
   *[other] { $n } Dinge sind älter. Sie gehen sofort, endgültig, mit dem, was daraus gemacht wurde.
}
keep-falls-alone = { $n ->
    [one] { $n } Ding ist älter. Es geht sofort, endgültig. Was daraus gemacht wurde, bleibt vielleicht: Eine Regel behält es.
   *[other] { $n } Dinge sind älter. Sie gehen sofort, endgültig. Was daraus gemacht wurde, bleibt vielleicht: Eine Regel behält es.
}
keep-falls-button = Speichern, Älteres löschen
child-title = Das Profil eines Kindes
child-lead = Was ein Kind sagt, wird höchstens einen Tag aufbewahrt: Aufnahmen, Mitschriften, Handlungen, und jede andere Art, von der jetzt etwas da ist. Das Kind kann es hören und löschen, aber nicht verlängern.
child-button = Zum Profil eines Kindes machen
child-done = Dies ist jetzt das Profil eines Kindes: höchstens ein Tag.

# Wie sicher
sure-title = Wie sicher ist „weg“?
sure-lead = Das versprechen wir, in schlichten Worten, und das können wir nicht versprechen.
sure-how-title = Wie es geht
sure-how = Alles, was hier aufbewahrt wird, ist verschlossen, und jedes Schloss hat einen eigenen Schlüssel. Kopien und Sicherungen enthalten nur Verschlossenes. Löschen heißt, den Schlüssel zu zerstören. Was er verschloss, ist dann Rauschen, in jeder Kopie, wo sie auch liegt.
sure-key-title = Wo der letzte Schlüssel ist
sure-key = { $kind ->
    [file] Der letzte Schlüssel liegt in einer Datei auf der Maschine dieses Dienstes. Um ihn zu zerstören, überschreibt sie diese Datei.
    [memory] Der letzte Schlüssel liegt allein im Arbeitsspeicher dieses Dienstes. Um ihn zu zerstören, vergisst ihn der Dienst.
    [quorum] Der letzte Schlüssel ist nirgends ganz: Schlüsselhalter haben Teile davon. Um ihn zu zerstören, zerstören sie ihre Teile und unterschreiben das.
   *[other] Der letzte Schlüssel liegt bei: { $kind }.
}
sure-copies = { $n ->
    [0] Weitere Kopien kennt dieser Dienst nicht.
    [one] Es gibt eine weitere Kopie. Damit Gelöschtes aus ihr weg ist, muss nichts getan werden.
   *[other] Es gibt { $n } weitere Kopien. Damit Gelöschtes aus ihnen weg ist, muss nichts getan werden.
}
sure-not-title = Was wir nicht versprechen können
sure-not-1 = Dass niemand etwas kopierte, bevor es gelöscht wurde: Wer es öffnete, steht dabei, soweit er sagte, wer er ist.
sure-not-2 = Dass dieser Dienst das Programm ausführt, das er nennt. Der Nachweis ist unterschrieben, damit man ihn uns vorhalten kann.
sure-not-3 = Dass nirgends sonst etwas liegt: Diese Seite zeigt, was hier aufbewahrt wird.
sure-proof = Jede Löschung gibt einen Nachweis, der sich ohne uns prüfen lässt.
history-title = Was damit getan wurde
history-none = Nichts außer Aufbewahren und Löschen.
history-kept = Behalten, als der Rest gelöscht wurde: { $what }. Grund: { $reason }
history-held = Gerichtlich festgehalten. Grund: { $reason }, angeordnet von { $authority }
history-lifted = Nicht mehr gerichtlich festgehalten. Grund: { $reason }, angeordnet von { $authority }
history-refused = Eine Löschung wurde verweigert, weil etwas festgehalten ist, { $n ->
    [one] einmal
   *[other] { $n } Mal
}
history-planned = Eine Löschung wurde für den { $when } geplant
history-cancelled = Eine geplante Löschung wurde abgesagt
history-failed = Eine geplante Löschung gelang nicht; sie wird jede Stunde wieder versucht
history-detached = Etwas wurde selbständig gemacht. Grund: { $reason }
history-other = Etwas anderes: { $what }
shared-title = Wer es sonst öffnen darf
shared-none = Sonst niemand.
shared-row = { $who }, für: { $why }

# Was heruntergeladen wird
archive-title = Was von { $name } aufbewahrt wurde
archive-lead = So war es am { $when }: { $what }. Alles liegt in diesem Ordner, nichts wird von anderswo geholt.
archive-nothing = nichts
archive-report = Der Bericht, als Daten
archive-back = Zurück zur Liste
