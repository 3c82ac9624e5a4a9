import Glibc
import Synchronization

/// Services that come, change and go while the others are served.
extension ProxyEngine {
  /// A change that is ready to be put in place: its new listening sockets are bound. One that is dropped instead closes them.
  public final class Change: Sendable {
    struct Install: Sendable {
      var place: Int
      var service: ProxyService
      var listeners: [[Listener]]
    }

    fileprivate let wanted: [ProxyService?]
    fileprivate let installs: Mutex<[Install]>

    fileprivate init(_ wanted: [ProxyService?], _ installs: [Install]) {
      self.wanted = wanted
      self.installs = Mutex(installs)
    }

    deinit {
      for install in installs.withLock({ $0 }) { for share in install.listeners { ListenerSet.close(share) } }
    }
  }

  /// Makes a change ready, from any thread but of one caller at a time: binds what is new, and changes nothing.
  ///
  /// - Parameter wanted: the services by their index; nil leaves what is there. A service that is as it was is not touched. Of one that
  ///   changed, connections stay as they are and as long as they last; new ones follow the new settings.
  /// - Throws: where an address can't be bound, or a service can't be. Then everything is as before.
  public func prepare(_ wanted: [ProxyService?]) throws(ProxyError) -> Change {
    let (present, slots, ours) = state.withLock { state in
      let all = state.places.indices.compactMap { state.service($0) }
      return (wanted.indices.map { state.service($0) }, state.editions.count, Set(all.flatMap(\.listen)))
    }
    let change = Change(wanted, [])
    for (place, service) in wanted.enumerated() {
      guard let service, service != present[place] else { continue }
      // A connection has 16 bits for its slot. Earlier editions give theirs back when their last connection has ended.
      guard slots + wanted.count <= Int(UInt16.max) else { throw .outOf("place for another service", code: ENOSPC) }
      if let mistake = service.mistake { throw .invalid(service: service.name, reason: mistake) }
      let known = Set(present[place]?.listen ?? [])
      var opened = try ListenerSet(
        [(0, service, service.listen.filter { !known.contains($0) })], workers: crew.count, backlog: backlog,
        inheriting: inheritance, sharing: ours)
      change.installs.withLock {
        $0.append(Change.Install(place: place, service: service, listeners: opened.takeAll()))
      }
    }
    return change
  }

  /// Puts it in place; waits for nobody. Services that are to go stay until `remove`.
  public func apply(_ change: Change) {
    let installs = change.installs.withLock { installs in
      defer { installs = [] }
      return installs
    }
    state.withLock { state in
      guard state.phase != .stopped else {
        for install in installs { for share in install.listeners { ListenerSet.close(share) } }
        return
      }
      state.sweep()
      while state.places.count < change.wanted.count { state.places.append(State.Place()) }
      for install in installs { put(install, into: &state) }
    }
  }

  /// Ends a service. Its connections should have been drained (`closeConnections`): what is left of them is reset. Where something else is
  /// in its place by now, nothing happens.
  public func remove(_ place: Int, ifStill service: ProxyService) {
    state.withLock { state in
      guard state.phase != .stopped, state.service(place) == service else { return }
      remove(place, from: &state)
    }
  }

  private func remove(_ place: Int, from state: inout State) {
    for slot in state.slots(of: [place]) where state.places[place].current == slot {
      for member in crew { member.mail.send(.retire(slot)) }
    }
    // Connections of earlier editions go with their service.
    for slot in state.places[place].earlier { for member in crew { member.mail.send(.retire(slot)) } }
    if let current = state.places[place].current { state.places[place].earlier.append(current) }
    state.places[place].current = nil
    state.places[place].past = nil
    state.places[place].backends = []
  }

  private func put(_ install: Change.Install, into state: inout State) {
    let edition = Edition(install.service, workers: crew.count)
    let slot = state.take(edition)
    let replaced = state.places[install.place].current
    let listeners = install.listeners.map { share in
      share.map { Listener(descriptor: $0.descriptor, service: slot, place: $0.place) }
    }
    for member in crew { member.mail.send(.install(edition, slot: slot, listeners, replacing: replaced)) }
    if let replaced { state.places[install.place].earlier.append(replaced) }
    state.places[install.place].current = slot
    state.places[install.place].backends = State.backends(install.service)
  }
}
