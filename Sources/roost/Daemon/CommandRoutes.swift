import Basis
import Control
import FoundationEssentials
import Linux
import Node
import Telemetry

/// What people may ask of a running daemon over the control socket, beside its status.
struct CommandRoutes: Sendable {
  let coordinator: ReloadCoordinator
  let tickets: Tickets
  let chronicle: Chronicle
  /// Gives an event to the loop.
  let give: @Sendable (Event) -> Void
  let upgrade: @Sendable (_ wish: Upgrader.Wish, _ then: @escaping @Sendable (Upgrader.Outcome) -> Void) -> Void

  /// The longest that a reader of events may wait for the next.
  private static let longestWait = Duration.seconds(60)

  func add(to routes: inout ControlRoutes) {
    routes.on("GET", "/events", events)
    routes.on("POST", "/vips/{vip}/move", move)
    routes.on("POST", "/node/standby") { command($0.query("force") == "true" ? .standbyAnyway : .standby, $1) }
    routes.on("POST", "/node/resume") { command(.resume, $1) }
    routes.on("POST", "/reload") { coordinator.reload(then: respond($1)) }
    routes.on("POST", "/apply", apply)
    routes.on("POST", "/upgrade", upgrade)
    routes.on("POST", "/confirm") { coordinator.confirm(then: respond($1)) }
  }

  // MARK: Events

  private func events(_ request: ControlRequest, _ answer: @escaping ControlServer.Answer) {
    guard let since = number(request, "since", UInt64(0)), let wait = number(request, "wait_ms", Int64(0)), wait >= 0
    else {
      return answer(.error(400, "'since' takes the number of an event, 'wait_ms' milliseconds"))
    }
    let limit = min(Duration.milliseconds(min(wait, 86_400_000)), Self.longestWait)
    chronicle.events(after: since, waiting: limit) { answer(ControlResponse(encoding: $0)) }
  }

  private func number<Number: FixedWidthInteger>(
    _ request: ControlRequest, _ name: String, _ missing: Number
  ) -> Number? {
    guard let text = request.query(name) else { return missing }
    return Number(text)
  }

  // MARK: Commands of the control plane

  private struct Move: Codable {
    var to: String?
  }

  private func move(_ request: ControlRequest, _ answer: @escaping ControlServer.Answer) {
    let plan = coordinator.plan
    let name = request.parameters["vip"] ?? ""
    guard let vip = plan.vipPlace(name) else {
      return answer(
        .error(404, "there is no VIP '\(printable(name))'; known are \(list(plan.configuration.vips.map(\.name)))"))
    }
    var wanted = Move()
    if !request.body.isEmpty {
      guard let read = try? JSONDecoder().decode(Move.self, from: Data(request.body)) else {
        return answer(.error(400, "the body is to be like {\"to\": \"NODE\"}"))
      }
      wanted = read
    }
    if let node = wanted.to, let why = exclusion(of: node, from: name, plan) { return answer(.error(409, why)) }
    let hook = plan.vip(vip)?.beforeAnnouncing?.timeout
    switch wanted.to {
    case nil: command(.move(vip: vip, to: .best), hook: hook, answer)
    case plan.name?: command(.move(vip: vip, to: .thisNode), hook: hook, answer)
    case let node?:
      guard plan.configuration.member(node) != nil else {
        return answer(
          .error(
            404,
            "there is no node '\(printable(node))'; known are \(list(plan.configuration.cluster.nodes.map(\.name)))"))
      }
      guard let peer = plan.peerPlace(node) else {
        return answer(
          .error(
            409,
            "this node can't ask '\(node)' whether it is ready: there is no peer link without cluster.secret (`roost secret` makes one for all nodes). Without it, `roost node standby` here gives the VIP up to the most preferred node"
          ))
      }
      command(.move(vip: vip, to: .peer(peer)), hook: hook, answer)
    }
  }

  /// Why a node that is there can never own that VIP; nil where it can.
  private func exclusion(of node: String, from name: String, _ plan: DaemonPlan) -> String? {
    guard plan.configuration.member(node) != nil,
      let vip = plan.configuration.vips.first(where: { $0.name == name }), vip.priority(of: node) == nil
    else { return nil }
    return
      "'\(node)' never owns \(name): vips.\(name).prefer lists \(list(vip.prefer)). Move it to one of those, or add '\(node)' there and `roost reload` on each node"
  }

  /// What became of a command, as JSON.
  struct Answer: Codable, Sendable {
    /// The new owner.
    var owner: String?
    /// How long nobody owned the VIP, at most.
    var vacant_ms: Double?
    /// The new owner has the addresses, and tells its neighbours when its command before-announcing has ended: after so long at most.
    /// Absent where it has told them.
    var announced_within_ms: Double?
    /// True where that node owned the VIP before, too, and nothing was done.
    var already: Bool?
  }

  /// - Parameter hook: how long a new owner's command before-announcing may take, where there is one.
  private func command(_ command: Command, hook: Duration? = nil, _ answer: @escaping ControlServer.Answer) {
    let ticket = tickets.issue { result in
      switch result {
      case .done: answer(ControlResponse(encoding: Answer()))
      case .moved(let node, let vacant):
        answer(
          ControlResponse(
            encoding: Answer(
              owner: node, vacant_ms: vacant?.milliseconds, announced_within_ms: hook?.milliseconds)))
      case .already(let node): answer(ControlResponse(encoding: Answer(owner: node, already: true)))
      case .refused(let reason): answer(.error(409, reason))
      }
    }
    guard let ticket else { return answer(.error(503, "too many commands wait already; try again")) }
    give(.command(command, ticket: ticket))
  }

  private func upgrade(_ request: ControlRequest, _ answer: @escaping ControlServer.Answer) {
    var wish = Upgrader.Wish()
    if !request.body.isEmpty {
      guard let read = try? JSONDecoder().decode(Upgrader.Wish.self, from: Data(request.body)),
        read.program?.hasPrefix("/") ?? true
      else { return answer(.error(400, "the body is to be like {\"program\": \"/usr/bin/roost\"}")) }
      wish = read
    }
    upgrade(wish) { outcome in
      switch outcome {
      case .done(let report): answer(ControlResponse(encoding: report))
      case .refused(let text): answer(.error(409, text))
      }
    }
  }

  // MARK: The configuration

  private func apply(_ request: ControlRequest, _ answer: @escaping ControlServer.Answer) {
    var confirm: Duration?
    if request.query("confirm_ms") != nil {
      guard let limit = number(request, "confirm_ms", Int64(0)), 1000...86_400_000 ~= limit else {
        return answer(.error(400, "'confirm_ms' takes 1000 to 86400000 milliseconds"))
      }
      confirm = .milliseconds(limit)
    }
    coordinator.apply(request.body, confirm: confirm, then: respond(answer))
  }

  private func respond(_ answer: @escaping ControlServer.Answer) -> @Sendable (ReloadCoordinator.Outcome) -> Void {
    { outcome in
      switch outcome {
      case .done(let report): answer(ControlResponse(encoding: report))
      case .refused(let text): answer(.error(409, text))
      }
    }
  }

  private func list(_ names: [String]) -> String {
    names.prefix(8).joined(separator: ", ") + (names.count > 8 ? ", …" : "")
  }
}
