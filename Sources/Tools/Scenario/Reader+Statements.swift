// What stands behind `at TIME` and behind `expect`.

extension Reader {
  static let actions = [
    "stop", "kill", "kill-all", "guardian-kill", "stall", "stall-all", "node-dead", "link-down", "link-cut",
    "partition",
    "one-way", "loss", "delay", "link-peers-cut", "start", "restart", "move", "standby", "resume", "reload",
    "upgrade", "rogue-advert", "clock-jump", "address-removed", "rtnl-busy", "hog", "interface-renamed",
    "interface-removed",
    "interface-recreated",
    "heal", "backend-kill", "backend-start",
  ]

  mutating func action(_ line: inout Line) throws(Wrong) -> Action {
    let word = line.take() ?? line.end
    switch word.text {
    case "stop": return .stop(try node(&line))
    case "kill": return .kill(try node(&line))
    case "kill-all": return .killAll(try node(&line))
    case "guardian-kill": return .guardianKill(try node(&line))
    case "stall":
      let who = try node(&line)
      return .stall(who, for: try length(&line, "stall owner for 2s"))
    case "stall-all":
      let who = try node(&line)
      return .stallAll(who, for: try length(&line, "stall-all owner for 2s"))
    case "node-dead": return .nodeDead(try node(&line))
    case "link-down": return .linkDown(try node(&line))
    case "link-cut": return .linkCut(try node(&line))
    case "partition": return try partition(&line)
    case "one-way":
      let path = try path(&line, needsArrow: true)
      return .oneWay(from: path.from, to: path.to)
    case "loss":
      let path = try path(&line, needsArrow: false)
      return .loss(path, share: try share(&line))
    case "delay":
      let path = try path(&line, needsArrow: false)
      return .delay(path, by: try duration(&line))
    case "link-peers-cut": return .linkPeersCut(line.isAtEnd ? .all : try node(&line))
    case "start": return .start(try node(&line))
    case "restart": return .restart(try node(&line))
    case "heal": return .heal
    case "backend-kill": return .backendKill(try backend(&line))
    case "backend-start": return .backendStart(try backend(&line))
    default: return try request(word, &line)
    }
  }

  /// What a person asks of a node, and what happens around it.
  private mutating func request(_ word: Line.Word, _ line: inout Line) throws(Wrong) -> Action {
    switch word.text {
    case "move":
      guard !line.isAtEnd else { return .move(to: nil) }
      try expect("to", &line, "say: move, or: move to lb2")
      return .move(to: try node(&line))
    case "standby": return .standby(try node(&line))
    case "resume": return .resume(try node(&line))
    case "reload": return .reload(try node(&line), try change(&line))
    case "upgrade": return .upgrade(try node(&line))
    case "rogue-advert":
      try expect("priority", &line, "say: rogue-advert priority 255 for 5s")
      let priority = try count(&line, of: "priorities", in: 0...255)
      return .rogueAdvert(priority: UInt8(priority), for: try length(&line, "rogue-advert priority 255 for 5s"))
    case "clock-jump":
      let who = try node(&line)
      try expect("by", &line, "say how far, such as: clock-jump owner by -2s")
      return .clockJump(who, by: try jump(&line))
    case "address-removed": return .addressRemoved(line.isAtEnd ? .owner : try node(&line))
    case "rtnl-busy": return .rtnlBusy(for: try length(&line, "rtnl-busy for 5s"))
    case "hog": return .hog(for: try length(&line, "hog for 5s"))
    case "interface-renamed": return .interfaceRenamed(try node(&line))
    case "interface-removed": return .interfaceRemoved(try node(&line))
    case "interface-recreated": return .interfaceRecreated(try node(&line))
    default: throw unknown(line, word, "nobody knows how to do", among: Self.actions)
    }
  }

  private mutating func length(_ line: inout Line, _ example: String) throws(Wrong) -> Duration {
    try expect("for", &line, "say for how long, such as: \(example)")
    return try duration(&line)
  }

  private mutating func change(_ line: inout Line) throws(Wrong) -> Action.Change {
    guard !line.isAtEnd else { return .nothing }
    try expect("adding", &line, "say: reload lb1, or: reload lb1 adding vip")
    let word = line.take() ?? line.end
    switch word.text {
    case "vip": return .vip
    case "address": return .address
    default: throw unknown(line, word, "a reload can't add", among: ["vip", "address"])
    }
  }

  /// What the cluster is configured with.
  mutating func option(_ name: String, _ line: inout Line) throws(Wrong) {
    switch name {
    case "vips": scenario.options.vips = try count(&line, of: "VIPs", in: 1...255)
    case "auth":
      let word = line.take() ?? line.end
      guard let mode = Scenario.Authentication(rawValue: word.text) else {
        throw unknown(line, word, "authentication is not", among: Scenario.Authentication.allCases.map(\.rawValue))
      }
      scenario.options.authentication = mode
    case "peer-link": scenario.options.peerLink = try isOn(&line)
    case "guardian": scenario.options.guardian = try isOn(&line)
    case "preempt": scenario.options.preempt = try isOn(&line)
    default:
      let word = line.next ?? line.end
      if line.take("off") {
        scenario.options.lease = nil
        return
      }
      let lease = try duration(&line)
      guard lease >= .seconds(1), lease == .seconds(lease.components.seconds) else {
        throw wrong(line, word, "the kernel counts a lease in whole seconds", "such as: lease 2s, or: lease off")
      }
      scenario.options.lease = lease
    }
  }

  private mutating func isOn(_ line: inout Line) throws(Wrong) -> Bool {
    let word = line.take() ?? line.end
    switch word.text {
    case "on": return true
    case "off": return false
    default: throw unknown(line, word, "here stands no", among: ["on", "off"])
    }
  }

  /// `lb1 | lb2 lb3`: two groups or more, no node twice.
  private mutating func partition(_ line: inout Line) throws(Wrong) -> Action {
    var groups: [[Selector]] = [[]]
    var used: [Selector] = []
    while let word = line.next {
      if line.take("|") {
        groups.append([])
        continue
      }
      let selector = try node(&line)
      if selector == .all {
        throw wrong(line, word, "`all` leaves nobody for the other side", "`rest` means every node that no group names")
      }
      if used.contains(selector) { throw wrong(line, word, "`\(word.text)` stands in two groups", nil) }
      used.append(selector)
      groups[groups.count - 1].append(selector)
    }
    if groups.count < 2 || groups.contains([]) {
      throw wrong(line, line.end, "a partition has two sides", "such as: partition lb1 | lb2 lb3")
    }
    return .partition(groups)
  }

  mutating func claim(_ line: inout Line) throws(Wrong) -> Claim {
    let word = line.take() ?? line.end
    switch word.text {
    case "owner":
      let who = try node(&line)
      if line.take("at") {
        try expect("end", &line, "say: owner lb1 at end")
        return .ownerAtEnd(who)
      }
      let within = try within(&line)
      return .owner(who, within: within, of: try moment(&line))
    case "one":
      try expect("owner", &line, "say: one owner at end")
      try expect("at", &line, "say: one owner at end")
      try expect("end", &line, "say: one owner at end")
      return .oneOwnerAtEnd
    case "outage":
      try expect("below", &line, "say: outage below 330ms of node-dead")
      let bound = try span(&line)
      return .outage(below: bound, of: try moment(&line))
    case "never":
      for expected in ["two", "owners", "for", "longer", "than"] {
        try expect(expected, &line, "say: never two owners for longer than 500ms")
      }
      return .twoOwners(atMost: try span(&line))
    case "no": return try negative(&line)
    case "nobody":
      for expected in ["owns", "for", "longer", "than"] {
        try expect(expected, &line, "say: nobody owns for longer than 2ms of move")
      }
      let bound = try span(&line)
      return .nobody(atMost: bound, of: line.isAtEnd ? nil : try moment(&line))
    case "same":
      try expect("owner", &line, "say: same owner of reload")
      return .sameOwner(of: try moment(&line))
    case "quiet": return .quiet(of: try moment(&line))
    case "backend":
      let who = try backend(&line)
      let state = line.take() ?? line.end
      guard state.text == "up" || state.text == "down" else {
        throw unknown(line, state, "a backend is not", among: ["up", "down"])
      }
      let within = try within(&line)
      return .backend(who, isUp: state.text == "up", within: within, of: try moment(&line))
    case "failed":
      try expect("requests", &line, "say: failed requests below 3 of backend-kill")
      try expect("below", &line, "say: failed requests below 3 of backend-kill")
      let bound = try count(&line, of: "failed requests", in: 1...1_000_000_000)
      return .failedRequests(below: bound, of: try moment(&line))
    default:
      throw unknown(
        line, word, "nothing can be expected of",
        among: ["owner", "one", "same", "outage", "never", "nobody", "no", "quiet", "backend", "failed"])
    }
  }

  private mutating func negative(_ line: inout Line) throws(Wrong) -> Claim {
    let word = line.take() ?? line.end
    switch word.text {
    case "address":
      try expect("on", &line, "say: no address on lb1 within 20ms of stop")
      let who = try node(&line)
      let within = try within(&line)
      return .noAddress(on: who, within: within, of: try moment(&line))
    case "connection":
      if line.take("fails") { return .noConnectionFails(of: try moment(&line)) }
      try expect("broken", &line, "say: no connection broken, or: no connection fails of move")
      return .noConnectionBroken(of: line.isAtEnd ? nil : try moment(&line))
    case "request":
      try expect("failed", &line, "say: no request failed of backend-kill")
      return .failedRequests(below: 1, of: try moment(&line))
    default: throw unknown(line, word, "the file can't deny", among: ["address", "connection", "request"])
    }
  }

  private mutating func within(_ line: inout Line) throws(Wrong) -> Span {
    try expect("within", &line, "say how soon, such as: within 1s of fault")
    return try span(&line)
  }

  /// `of node-dead`, `of fault`.
  private mutating func moment(_ line: inout Line) throws(Wrong) -> Moment {
    try expect("of", &line, "say of which step, such as: of fault")
    let word = line.take() ?? line.end
    if word.text == "fault" { return .fault }
    guard Self.actions.contains(word.text) else {
      throw unknown(line, word, "no step is called", among: ["fault"] + Self.actions)
    }
    return .action(word.text)
  }
}
