import Node
import VRRP

/// What each node's configuration file says, and what its daemon has read.
struct ConfigurationFiles {
  /// Of each node, as its daemon has it.
  var running: [NodeSettings]
  private let plan: Plan
  private var hasSpareVIP: [Bool]
  private var hasSpareAddress: [Bool]
  private var cached: [NodeSettings]
  private let interfaceNames: [[String]]

  init(_ plan: Plan) {
    self.plan = plan
    running = plan.settings
    cached = plan.settings
    hasSpareVIP = Array(repeating: false, count: plan.settings.count)
    hasSpareAddress = hasSpareVIP
    // A name once, in the order of the VIPs.
    interfaceNames = plan.settings.map { settings in
      var names: [String] = []
      for vip in settings.vips where !names.contains(vip.interface) { names.append(vip.interface) }
      return names
    }
  }

  func interfaces(_ node: Int) -> [String] { interfaceNames[node] }
  func current(_ node: Int) -> NodeSettings { cached[node] }

  /// The file gets something more, or loses what it got before.
  mutating func change(_ node: Int, _ change: Fault.Reload) {
    switch change {
    case .nothing: return
    case .vip: if plan.mayAddVIP { hasSpareVIP[node].toggle() }
    case .address: hasSpareAddress[node].toggle()
    }
    var settings = plan.settings[node]
    if hasSpareAddress[node], !settings.vips.isEmpty {
      let address = Plan.address(of: 250)
      settings.vips[0].addresses.append(address)
      if case .vrrp(var router) = settings.vips[0].election {
        router.addresses.append(address)
        settings.vips[0].election = .vrrp(router)
      }
    }
    // A VIP keeps its place: what was there once is vacant when it is gone.
    if hasSpareVIP[node] {
      settings.vips.append(spare(node))
    } else if running[node].vips.count > settings.vips.count {
      settings.vips.append(.vacant)
    }
    cached[node] = settings
  }

  private func spare(_ node: Int) -> VIPSettings {
    let number = plan.settings[node].vips.count
    guard var vip = plan.settings[node].vips.first else { return .vacant }
    let address = Plan.address(of: number)
    vip.name = "vip\(number + 1)"
    vip.addresses = [address]
    if case .vrrp(var router) = vip.election {
      router.id = UInt8((50 + number) % 255 + 1)
      router.addresses = [address]
      vip.election = .vrrp(router)
    }
    return vip
  }
}
