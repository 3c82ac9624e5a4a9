import Basis
import Wire

// Trackers, what VIPs make of them, and groups.

extension CrossChecks {
  static func checkTrackers(_ draft: Draft, _ mistakes: inout Mistakes) {
    let vips = draft.vips.map(\.value.name)
    let services = draft.services.map(\.value.name)
    let nodes = draft.nodes.map(\.value.name)
    for entry in draft.trackerEntries { checkSource(entry, &mistakes) }
    for tracker in draft.trackers {
      switch tracker.value.source {
      case .vip(let name) where !vips.contains(name):
        unknown("VIP", name, at: tracker.value("vip") ?? tracker.place, among: vips, &mistakes)
      case .service(let name, let count):
        if let service = draft.services.first(where: { $0.value.name == name }) {
          if count > service.value.backends.count, !service.value.backends.isEmpty {
            mistakes.error(
              "service '\(name)' has \(service.value.backends.count) backends, so \(count) of them never take traffic",
              at: tracker.value("at-least") ?? tracker.place,
              suggestion: "write \(service.value.backends.count) or less")
          }
        } else {
          unknown("service", name, at: tracker.value("service") ?? tracker.place, among: services, &mistakes)
        }
      case .interface: checkInterfaces(tracker, nodes, &mistakes)
      case .check(_, _, let port) where port == 0:
        mistakes.error(
          "a check needs a port", at: tracker.value("address") ?? tracker.place, suggestion: "write ADDRESS:PORT")
      default: break
      }
      if let command = tracker.element["command"] { checkProgram(command, &mistakes) }
      if tracker.value.timeout > tracker.value.every, let place = tracker.value("timeout") {
        mistakes.error(
          "the timeout (\(DurationText.write(tracker.value.timeout))) is longer than from one look to the next (\(DurationText.write(tracker.value.every)))",
          at: place, suggestion: "write \(DurationText.write(tracker.value.every)) or less")
      }
    }
    checkTracks(draft, &mistakes)
  }

  /// What a tracker may watch, and the keys that belong to each.
  private static let sources: [(name: String, keys: [String])] = [
    ("interface", []), ("route", ["table"]), ("file", []), ("process", []), ("command", ["user", "timeout"]),
    ("vip", []), ("service", ["at-least"]), ("check", ["address", "timeout"]),
  ]

  private static func checkSource(_ entry: Element.Entry, _ mistakes: inout Mistakes) {
    guard case .mapping(let entries) = entry.value.content else { return }
    let watched = entries.filter { entry in sources.contains { $0.name == entry.name } }
    guard let first = watched.first, let source = sources.first(where: { $0.name == first.name }) else {
      // A slip has its own mistake.
      guard !entries.contains(where: { nearest($0.name, among: sources.map(\.name)) != nil }) else { return }
      mistakes.error(
        "tracker '\(entry.name)' doesn't say what is watched", at: entry.place,
        suggestion: "add one of " + sources.map(\.name).joined(separator: ", "))
      return
    }
    for other in watched.dropFirst() {
      mistakes.error(
        "a tracker watches one thing: '\(first.name)' or '\(other.name)'", at: other.place,
        suggestion: "make another tracker of it")
    }
    guard watched.count == 1 else { return }
    for other in entries where !source.keys.contains(other.name) {
      let owners = sources.filter { $0.keys.contains(other.name) }.map { "'\($0.name)'" }
      if owners.isEmpty { continue }
      mistakes.error(
        "'\(other.name)' belongs to \(owners.joined(separator: " or ")), not to '\(first.name)'", at: other.place,
        suggestion: "remove it")
    }
    if source.name == "check", entry.value.entry("address") == nil {
      mistakes.error(
        "the check doesn't say what is checked", at: first.place, suggestion: "add address: ADDRESS:PORT")
    }
    if ["vip", "service"].contains(source.name), let every = entry.value.entry("every") {
      mistakes.warning(
        "'every' has no effect: the node knows its own VIPs and services at once", at: every.place,
        suggestion: "remove it")
    }
  }

  private static func checkInterfaces(
    _ tracker: Draft.Part<Configuration.Tracker>, _ nodes: [String], _ mistakes: inout Mistakes
  ) {
    let choices = tracker.element["interface"]?.entries ?? []
    guard !choices.isEmpty, !nodes.isEmpty else { return }
    for choice in choices where !nodes.contains(choice.name) {
      unknown("node", choice.name, at: choice.place, among: nodes, &mistakes)
    }
    let missing = nodes.filter { node in !choices.contains { $0.name == node } }
    if !missing.isEmpty, choices.allSatisfy({ nodes.contains($0.name) }) {
      mistakes.error(
        "the tracker has no interface on \(missing.prefix(4).map { "'\($0)'" }.joined(separator: ", "))",
        at: tracker.place("interface"), suggestion: "name one for each node")
    }
  }

  /// The first of a command's words is the program, which is not looked for.
  static func checkProgram(_ command: Element, _ mistakes: inout Mistakes) {
    guard case .list(let items) = command.content, let first = items.first, let path = first.text, !path.isEmpty,
      !path.hasPrefix("/")
    else { return }
    mistakes.error(
      "expected the absolute path of a program, found \(quoted(path))", at: first.place,
      suggestion: path.contains(" ")
        ? "write [/PATH/PROGRAM, ARGUMENT, …]; for a shell, [/bin/sh, -c, \"…\"]"
        : "begin it with /, because a search path is not the same everywhere")
  }

  // MARK: - What VIPs make of them

  private static func checkTracks(_ draft: Draft, _ mistakes: inout Mistakes) {
    let names = draft.trackerEntries.map(\.name)
    let known = Set(names)
    var used: Set<String> = []
    for vip in draft.vips {
      if let command = vip.element["before-announcing"]?["command"] { checkProgram(command, &mistakes) }
      for entry in vip.element["track"]?.entries ?? [] {
        used.insert(entry.name)
        if !known.contains(entry.name) {
          if names.isEmpty {
            mistakes.error(
              "there is no tracker \(quoted(entry.name))", at: entry.place,
              suggestion: "define it: trackers: { \(entry.name): { interface: eth1 } }")
          } else {
            unknown("tracker", entry.name, at: entry.place, among: names, &mistakes)
          }
        }
        if vip.value.election == .static, vip.element["election"]?.text == "static",
          entry.value.text.flatMap({ wholeNumber($0) }) != nil
        {
          mistakes.error(
            "a static VIP has no priority that could be lowered", at: entry.value.place, suggestion: "write forbid")
        }
      }
    }
    for entry in draft.trackerEntries where !used.contains(entry.name) {
      mistakes.warning(
        "no VIP tracks '\(entry.name)'", at: entry.place,
        suggestion: "add track: { \(entry.name): forbid } to a VIP, or remove the tracker")
    }
    checkCircles(draft, &mistakes)
  }

  /// A VIP that has to be owned before it can be owned never is. VIPs of one group wait for each other's trackers.
  private static func checkCircles(_ draft: Draft, _ mistakes: inout Mistakes) {
    let names = draft.vips.map(\.value.name)
    let index = Dictionary(names.enumerated().map { ($1, $0) }, uniquingKeysWith: { first, _ in first })
    // The first VIP of a group stands for all of them.
    var representative = Array(names.indices)
    for group in draft.groups {
      let members = group.value.vips.compactMap { index[$0] }
      for member in members { representative[member] = members[0] }
    }
    let watched = Dictionary(
      draft.trackers.compactMap { tracker -> (String, Int)? in
        guard case .vip(let name) = tracker.value.source, let vip = index[name] else { return nil }
        return (tracker.value.name, vip)
      }, uniquingKeysWith: { first, _ in first })
    guard !watched.isEmpty else { return }
    struct Need {
      var on: Int
      /// The VIP that tracks, and the one that is tracked, where `on` stands for its group.
      var from: Int
      var tracked: Int
      var place: Place
    }
    var needs: [[Need]] = Array(repeating: [], count: names.count)
    for (number, vip) in draft.vips.enumerated() {
      for entry in vip.element["track"]?.entries ?? [] {
        guard let other = watched[entry.name] else { continue }
        needs[representative[number]].append(
          Need(on: representative[other], from: number, tracked: other, place: entry.place))
      }
    }
    // What needs nothing is no part of a circle, and so on.
    var isFree = Array(repeating: false, count: names.count)
    var hasChanged = true
    while hasChanged {
      hasChanged = false
      for vip in names.indices where !isFree[vip] && needs[vip].allSatisfy({ isFree[$0.on] }) {
        isFree[vip] = true
        hasChanged = true
      }
    }
    // Of what is left each needs something that is left, so a walk comes back to where it was.
    guard var vip = names.indices.first(where: { !isFree[$0] }) else { return }
    var path: [Need] = []
    while !path.contains(where: { representative[$0.from] == vip }),
      let need = needs[vip].first(where: { !isFree[$0.on] })
    {
      path.append(need)
      vip = need.on
    }
    let circle = path.drop { representative[$0.from] != vip }
    guard let first = circle.first else { return }
    let words = circle.prefix(8).map { "'\(names[$0.from])' tracks '\(names[$0.tracked])'" }.joined(separator: ", ")
    let isThroughGroup = zip(circle, circle.dropFirst() + [first]).contains { $0.tracked != $1.from }
    mistakes.error(
      circle.count == 1 && first.from == first.tracked
        ? "'\(names[first.from])' tracks itself: it would have to be owned before it may be owned"
        : "VIPs track each other in a circle: \(words)\(isThroughGroup ? "; VIPs of a group are one in this" : "")",
      at: first.place, suggestion: "remove one of them; VIPs that are to move together are a group")
  }

  // MARK: - Groups

  static func checkGroups(_ draft: Draft, _ mistakes: inout Mistakes) {
    let names = draft.vips.map(\.value.name)
    var groups: [String: String] = [:]
    for group in draft.groups {
      var members: [Draft.Part<Configuration.VIP>] = []
      for item in group.element.items {
        guard let name = item.text else { continue }
        guard let vip = draft.vips.first(where: { $0.value.name == name }) else {
          unknown("VIP", name, at: item.place, among: names, &mistakes)
          continue
        }
        if let other = groups.updateValue(group.value.name, forKey: name) {
          mistakes.error(
            other == group.value.name
              ? "'\(name)' is there twice" : "'\(name)' is in group '\(other)' already", at: item.place,
            suggestion: other == group.value.name ? "leave one" : "a VIP is in one group: make one group of both")
          continue
        }
        if case .static = vip.value.election {
          mistakes.error(
            "'\(name)' is static, and can't move with others", at: item.place,
            suggestion: "say election: vrrp, or leave it out")
        } else if let first = members.first, vip.value.prefer != first.value.prefer {
          mistakes.error(
            "'\(name)' prefers \(list(vip.value.prefer)), '\(first.value.name)' \(list(first.value.prefer)): they can't move together",
            at: item.place, suggestion: "give all VIPs of a group the same 'prefer'")
        }
        members.append(vip)
      }
      if case .list(let items) = group.element.content, items.count == 1 {
        mistakes.error(
          "a group needs two VIPs or more", at: group.place, suggestion: "add another, or remove the group")
      }
    }
  }

  private static func list(_ names: [String]) -> String {
    "[" + names.prefix(4).joined(separator: ", ") + (names.count > 4 ? ", …]" : "]")
  }

  // MARK: - Notifications

  static func checkNotifications(_ draft: Draft, _ mistakes: inout Mistakes) {
    for entry in draft.notificationEntries {
      guard case .mapping = entry.value.content else { continue }
      let (command, webhook) = (entry.value.entry("command"), entry.value.entry("webhook"))
      switch (command, webhook) {
      case (nil, nil):
        guard !entry.value.entries.contains(where: { nearest($0.name, among: ["command", "webhook"]) != nil }) else {
          continue
        }
        mistakes.error(
          "notification '\(entry.name)' doesn't say how", at: entry.place,
          suggestion: "add command: [/PATH/PROGRAM], or webhook: URL")
      case (.some, let other?):
        mistakes.error(
          "a notification is a command or a webhook, not both", at: other.place, suggestion: "make two of it")
      case (let command?, nil):
        checkProgram(command.value, &mistakes)
        if let key = entry.value.entry("authorization") {
          mistakes.error("'authorization' belongs to a webhook", at: key.place, suggestion: "remove it")
        }
      case (nil, .some): break
      }
      var seen: Set<String> = []
      for item in entry.value["events"]?.items ?? [] {
        if let kind = item.text, !seen.insert(kind).inserted {
          mistakes.error("'\(kind)' is there twice", at: item.place, suggestion: "leave one")
        }
      }
    }
  }
}
