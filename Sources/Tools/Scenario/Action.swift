/// What a step does.
public enum Action: Sendable, Hashable {
  /// SIGTERM: the node gives up what it owns, then ends.
  case stop(Selector)
  /// SIGKILL of the daemon. The machine, its addresses, its link and its guardian stay.
  case kill(Selector)
  /// SIGKILL of the daemon and of its guardian at once: nobody is left but the kernel.
  case killAll(Selector)
  /// SIGKILL of the guardian; the daemon stays.
  case guardianKill(Selector)
  /// SIGSTOP of the daemon, and SIGCONT after that time.
  case stall(Selector, for: Duration)
  /// SIGSTOP of the daemon and of its guardian at once, and SIGCONT after that time.
  case stallAll(Selector, for: Duration)
  /// The machine dies: its processes and its link in the same instant.
  case nodeDead(Selector)
  /// The link loses its carrier.
  case linkDown(Selector)
  /// The link keeps its carrier and carries nothing.
  case linkCut(Selector)
  /// Nodes of different groups don't hear each other; the client and the backends hear all.
  case partition([[Selector]])
  /// What `from` sends doesn't reach `to`.
  case oneWay(from: Selector, to: Selector)
  /// That share of the packets is lost, 0 to 1.
  case loss(Path, share: Double)
  /// Packets arrive that much later. Only the simulator does it: the lab refuses it before it builds anything.
  case delay(Path, by: Duration)
  /// The peer link of these nodes is cut; VRRP's packets still arrive.
  case linkPeersCut(Selector)
  /// Starts the daemon where it doesn't run; a dead machine gets its link back too.
  case start(Selector)
  /// SIGTERM, and a new start as soon as the daemon has ended.
  case restart(Selector)
  /// `roost move` of the first VIP, to that node or, with nil, to the best one.
  case move(to: Selector?)
  /// `roost node standby`: out of every election politely.
  case standby(Selector)
  /// `roost node resume`.
  case resume(Selector)
  /// `roost reload`, with a configuration that may differ from the one that runs.
  case reload(Selector, Change)
  /// `roost upgrade`: another process goes on in the daemon's place, from the same binary, with everything that the daemon has.
  case upgrade(Selector)
  /// A stranger on the link, without any key, says every 10 ms that it owns the first VIP. It takes no address.
  case rogueAdvert(priority: UInt8, for: Duration)
  /// The wall clock jumps; nothing that only measures time notices.
  case clockJump(Selector, by: Duration)
  /// Another program removes the first VIP's addresses from the interface.
  case addressRemoved(Selector)
  /// Something else on the machines keeps the kernel's lock for links and addresses busy.
  case rtnlBusy(for: Duration)
  /// Busy loops on every processor of the machines.
  case hog(for: Duration)
  /// The interface gets another name; its addresses stay on it.
  case interfaceRenamed(Selector)
  /// The interface is deleted, and its addresses with it.
  case interfaceRemoved(Selector)
  /// A deleted or renamed interface is there again under its name, with the node's own address.
  case interfaceRecreated(Selector)
  /// Undoes every fault: links, interfaces, clocks and paths as they were, stalled processes continued, nodes that are on
  /// standby resumed, nodes and backends started.
  case heal
  /// Index into `Scenario.backendNames`. SIGKILL: its connections are reset, new ones refused.
  case backendKill(Int)
  case backendStart(Int)

  /// What a reload finds changed in the file.
  public enum Change: String, Sendable, Hashable, CaseIterable {
    /// `reload lb1`.
    case nothing
    /// `reload lb1 adding vip`: a VIP that was not there before, behind the others.
    case vip
    /// `reload lb1 adding address`: the first VIP gets one more address.
    case address
  }

  /// The word that names it in a file.
  public var word: String {
    switch self {
    case .stop: "stop"
    case .kill: "kill"
    case .killAll: "kill-all"
    case .guardianKill: "guardian-kill"
    case .stall: "stall"
    case .stallAll: "stall-all"
    case .nodeDead: "node-dead"
    case .linkDown: "link-down"
    case .linkCut: "link-cut"
    case .partition: "partition"
    case .oneWay: "one-way"
    case .loss: "loss"
    case .delay: "delay"
    case .linkPeersCut: "link-peers-cut"
    case .start: "start"
    case .restart: "restart"
    case .move: "move"
    case .standby: "standby"
    case .resume: "resume"
    case .reload: "reload"
    case .upgrade: "upgrade"
    case .rogueAdvert: "rogue-advert"
    case .clockJump: "clock-jump"
    case .addressRemoved: "address-removed"
    case .rtnlBusy: "rtnl-busy"
    case .hog: "hog"
    case .interfaceRenamed: "interface-renamed"
    case .interfaceRemoved: "interface-removed"
    case .interfaceRecreated: "interface-recreated"
    case .heal: "heal"
    case .backendKill: "backend-kill"
    case .backendStart: "backend-start"
    }
  }

  /// False for what only puts things right again. What a person asks of a healthy cluster, a move or a reload, must disturb
  /// nobody either, and counts.
  public var isFault: Bool {
    switch self {
    case .heal, .start, .resume, .interfaceRecreated, .backendStart: false
    default: true
    }
  }

  /// How long it goes on before it ends by itself; nil where it doesn't.
  public var length: Duration? {
    switch self {
    case .stall(_, let time), .stallAll(_, let time), .rogueAdvert(_, let time), .rtnlBusy(let time), .hog(let time):
      time
    default: nil
    }
  }
}
