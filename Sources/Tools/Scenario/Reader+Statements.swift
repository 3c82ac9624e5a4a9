// What stands behind `at TIME` and behind `expect`.

extension Reader {
  static let actions = [
    "stop", "kill", "stall", "node-dead", "link-down", "link-cut", "partition", "one-way", "loss", "delay", "start",
    "restart", "heal", "backend-kill", "backend-start",
  ]

  mutating func action(_ line: inout Line) throws(Wrong) -> Action {
    let word = line.take() ?? line.end
    switch word.text {
    case "stop": return .stop(try node(&line))
    case "kill": return .kill(try node(&line))
    case "stall":
      let who = try node(&line)
      try expect("for", &line, "say for how long, such as: stall owner for 2s")
      return .stall(who, for: try duration(&line))
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
    case "start": return .start(try node(&line))
    case "restart": return .restart(try node(&line))
    case "heal": return .heal
    case "backend-kill": return .backendKill(try backend(&line))
    case "backend-start": return .backendStart(try backend(&line))
    default: throw unknown(line, word, "nobody knows how to do", among: Self.actions)
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
        line, word, "nothing can be expected of", among: ["owner", "one", "outage", "never", "no", "backend", "failed"])
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
      try expect("broken", &line, "say: no connection broken")
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
