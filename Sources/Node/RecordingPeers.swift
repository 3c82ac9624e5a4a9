import Basis
import Peering
import Wire

// What trackers, peers and people say, as bytes.

extension TrackReport {
  func encode(into bytes: inout [UInt8]) {
    switch self {
    case .good: bytes.append(0)
    case .bad(let why):
      bytes.append(1)
      BytesOut.text(why, &bytes)
    case .unknown(let why):
      bytes.append(2)
      BytesOut.text(why, &bytes)
    }
  }

  init(from bytes: inout BytesIn) throws(RecordingError) {
    switch try bytes.byte() {
    case 0: self = .good
    case 1: self = .bad(try bytes.text())
    case 2: self = .unknown(try bytes.text())
    default: throw bytes.malformed("no report of a tracker")
    }
  }
}

extension PeerReport {
  func encode(into bytes: inout [UInt8]) {
    switch self {
    case .up: bytes.append(0)
    case .down: bytes.append(1)
    case .said(let message):
      bytes.append(2)
      message.record(into: &bytes)
    }
  }

  init(from bytes: inout BytesIn) throws(RecordingError) {
    switch try bytes.byte() {
    case 0: self = .up
    case 1: self = .down
    case 2: self = .said(try PeerMessage(recorded: &bytes))
    default: throw bytes.malformed("no news of a peer")
    }
  }
}

extension Command {
  func encode(into bytes: inout [UInt8]) {
    switch self {
    case .move(let vip, let target):
      bytes.append(0)
      BytesOut.number(vip, &bytes)
      switch target {
      case .best: bytes.append(0)
      case .thisNode: bytes.append(1)
      case .peer(let peer):
        bytes.append(2)
        BytesOut.number(peer, &bytes)
      }
    case .standby: bytes.append(1)
    case .standbyAnyway: bytes.append(3)
    case .resume: bytes.append(2)
    }
  }

  init(from bytes: inout BytesIn) throws(RecordingError) {
    switch try bytes.byte() {
    case 0:
      let vip = try bytes.index()
      switch try bytes.byte() {
      case 0: self = .move(vip: vip, to: .best)
      case 1: self = .move(vip: vip, to: .thisNode)
      case 2: self = .move(vip: vip, to: .peer(try bytes.index()))
      default: throw bytes.malformed("no target of a move")
      }
    case 1: self = .standby
    case 2: self = .resume
    case 3: self = .standbyAnyway
    default: throw bytes.malformed("no command")
    }
  }
}

extension PeerMessage {
  /// At most this long as bytes, with room for numbers.
  var mostBytes: Int {
    switch self {
    case .vips(let reports): reports.reduce(16) { $0 + $1.name.utf8.count + 40 }
    case .successor(let vip, let node): 64 + vip.utf8.count + (node?.utf8.count ?? 0)
    case .prepare(let vip, _), .ready(let vip, _), .taken(let vip, _): 64 + vip.utf8.count
    case .refused(let vip, _, let reason): 64 + vip.utf8.count + reason.utf8.count
    case .moved(let vip, let to, _, _), .leave(let vip, let to, _): 64 + vip.utf8.count + to.utf8.count
    case .moveRequest(let vip, let to, _): 64 + vip.utf8.count + (to?.utf8.count ?? 0)
    case .moveEnded(_, let error, _): 64 + (error?.utf8.count ?? 0)
    }
  }

  func record(into bytes: inout [UInt8]) {
    func head(_ kind: UInt8, _ vip: String, _ move: UInt64) {
      bytes.append(kind)
      BytesOut.text(vip, &bytes)
      BytesOut.number(move, &bytes)
    }
    func optional(_ text: String?) {
      BytesOut.flag(text != nil, &bytes)
      if let text { BytesOut.text(text, &bytes) }
    }
    switch self {
    case .vips(let reports):
      bytes.append(0)
      BytesOut.number(reports.count, &bytes)
      for report in reports {
        BytesOut.text(report.name, &bytes)
        bytes += [report.state.rawValue, report.priority]
        BytesOut.flag(report.isEligible, &bytes)
        // 1 is what a recording had before there were link-local addresses in it.
        bytes.append(report.router == nil ? 0 : report.linkLocal == nil ? 1 : 2)
        guard let router = report.router else { continue }
        bytes += [router.id, router.version]
        BytesOut.flag(router.usesIPv6, &bytes)
        BytesOut.flag(router.isUnicast, &bytes)
        if let linkLocal = report.linkLocal { IPv6Address(rawValue: linkLocal).encode(into: &bytes) }
      }
    case .successor(let vip, let node):
      head(1, vip, 0)
      optional(node)
    case .prepare(let vip, let move): head(2, vip, move)
    case .ready(let vip, let move): head(3, vip, move)
    case .refused(let vip, let move, let reason):
      head(4, vip, move)
      BytesOut.text(reason, &bytes)
    case .moved(let vip, let to, let move, let freshness):
      head(5, vip, move)
      BytesOut.text(to, &bytes)
      BytesOut.flag(freshness != nil, &bytes)
      if let freshness {
        BytesOut.duration(freshness.after, &bytes)
        BytesOut.duration(freshness.within, &bytes)
      }
    case .leave(let vip, let to, let move):
      head(9, vip, move)
      BytesOut.text(to, &bytes)
    case .taken(let vip, let move): head(6, vip, move)
    case .moveRequest(let vip, let to, let move):
      head(7, vip, move)
      optional(to)
    case .moveEnded(let move, let error, let vacant):
      head(8, "", move)
      optional(error)
      BytesOut.flag(vacant != nil, &bytes)
      if let vacant { BytesOut.duration(vacant, &bytes) }
    }
  }

  init(recorded bytes: inout BytesIn) throws(RecordingError) {
    let kind = try bytes.byte()
    if kind == 0 {
      var reports: [VIPReport] = []
      for _ in 0..<(try bytes.count()) { reports.append(try VIPReport(recorded: &bytes)) }
      self = .vips(reports)
      return
    }
    let vip = try bytes.text()
    let move = try bytes.number()
    switch kind {
    case 1: self = .successor(vip: vip, node: try bytes.optionalText())
    case 2: self = .prepare(vip: vip, move: move)
    case 3: self = .ready(vip: vip, move: move)
    case 4: self = .refused(vip: vip, move: move, reason: try bytes.text())
    case 5:
      let to = try bytes.text()
      let isDated = try bytes.flag()
      self = .moved(
        vip: vip, to: to, move: move,
        freshness: isDated ? Freshness(after: try bytes.duration(), within: try bytes.duration()) : nil)
    case 6: self = .taken(vip: vip, move: move)
    case 7: self = .moveRequest(vip: vip, to: try bytes.optionalText(), move: move)
    case 8:
      let error = try bytes.optionalText()
      self = .moveEnded(move: move, error: error, vacant: try bytes.flag() ? try bytes.duration() : nil)
    case 9: self = .leave(vip: vip, to: try bytes.text(), move: move)
    default: throw bytes.malformed("no message of a peer")
    }
  }
}

extension PeerMessage.VIPReport {
  init(recorded bytes: inout BytesIn) throws(RecordingError) {
    let name = try bytes.text()
    guard let state = State(rawValue: try bytes.byte()) else { throw bytes.malformed("no state of a VIP") }
    let priority = try bytes.byte()
    self.init(name: name, state: state, priority: priority, isEligible: try bytes.flag())
    let form = try bytes.byte()
    guard form <= 2 else { throw bytes.malformed("no report of a VIP") }
    guard form > 0 else { return }
    let (id, version) = (try bytes.byte(), try bytes.byte())
    router = Router(id: id, version: version, usesIPv6: try bytes.flag(), isUnicast: try bytes.flag())
    if form == 2 { linkLocal = try IPv6Address(from: &bytes).rawValue }
  }
}

extension BytesIn {
  fileprivate mutating func optionalText() throws(RecordingError) -> String? { try flag() ? try text() : nil }
}
