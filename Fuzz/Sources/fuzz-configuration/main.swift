import Configuration
import Fuzzing

/// Any bytes as a file: a configuration or mistakes come of it, never neither, and what came can be printed and used.
@_cdecl("LLVMFuzzerTestOneInput")
func feed(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  let bytes = Array(UnsafeBufferPointer(start: start, count: count))
  let reading = Configuration.read(bytes: bytes, file: "fuzz.yaml")
  precondition((reading.configuration == nil) == reading.mistakes.hasError)
  precondition(!reading.mistakes.text(colour: true).isEmpty || reading.configuration != nil)
  precondition(!reading.mistakes.json.isEmpty)
  if let configuration = reading.configuration {
    use(configuration, reading)
  }
  return 0
}

private func use(_ configuration: Configuration, _ reading: Reading) {
  precondition(configuration.hash.utf8.count == 16)
  let host = HostFacts(hostName: "lb1", interfaces: [HostFacts.Interface(name: "eth0", addresses: [])])
  _ = reading.mistakes(on: host)
  for node in configuration.cluster.nodes.prefix(4) {
    let settings = configuration.nodeSettings(for: node.name) { _ in "eth0" }
    precondition(settings.vips.count == configuration.vips.count)
    precondition(settings.services.count == configuration.services.count)
    for vip in settings.vips {
      precondition(!vip.addresses.isEmpty)
      guard case .vrrp(let router) = vip.election else { continue }
      precondition(router.id > 0 && router.priority > 0 && router.interval > .zero && !router.addresses.isEmpty)
      if case .unicast(let peers) = router.peers { precondition(!peers.isEmpty) }
    }
    for service in settings.services {
      precondition(settings.vips.indices.contains(service.vip) && !service.backends.isEmpty)
    }
  }
}

runFuzzer(feed)
