import Balancing

/// Services that come, change and go while others are served.
extension Worker {
  /// Takes connections for another edition from now on.
  ///
  /// - Parameter replaced: the slot of the edition that it follows; its listening sockets go over, those at places that are no longer wanted
  ///   are closed, and its connections stay.
  mutating func install(_ edition: Edition, at slot: Int, _ opened: [Listener], replacing replaced: Int?) {
    let state = ServiceState(edition, slot: slot, worker: number)
    // Slots are given in order, or were used before.
    if slot < services.count { services[slot] = state } else { services.append(state) }
    if let replaced {
      services[slot].intake = services[replaced].intake
      for index in listeners.indices where listeners[index].service == replaced && listeners[index].descriptor >= 0 {
        if edition.service.listen.contains(listeners[index].place) {
          listeners[index].service = slot
        } else {
          closeListener(index)
        }
      }
      for index in drains.indices where drains[index].services.contains(replaced) {
        drains[index].services.append(slot)
      }
      leave(replaced)
    }
    for listener in opened { add(listener) }
  }

  /// The service is no more. Its connections were ended before; what is left is reset.
  mutating func retire(_ slot: Int) {
    for index in listeners.indices where listeners[index].service == slot && listeners[index].descriptor >= 0 {
      closeListener(index)
    }
    for place in 0..<slab.top where slab.isOpen(place) && Int(connections[place].service) == slot {
      services[slot].counters.pointee.cut.bump()
      reset(place)
    }
    leave(slot)
  }

  private mutating func leave(_ slot: Int) {
    guard !services[slot].hasLeft else { return }
    services[slot].hasLeft = true
    services[slot].edition.leave()
  }

  private mutating func add(_ listener: Listener) {
    let index = listeners.firstIndex { $0.descriptor < 0 } ?? listeners.count
    if index < listeners.count { listeners[index] = listener } else { listeners.append(listener) }
    // Where the node does not serve the VIP now, SYNs to it are not for this one either.
    if services[listener.service].intake != .open { _ = io.seal(listener.descriptor) }
    // The kernel was short of memory: `resumeListeners` tries again, and connections wait in the backlog meanwhile.
    listeners[index].isWatched = io.watchListener(listener.descriptor, token: Token.listener(index)) >= 0
    if !listeners[index].isWatched { pause(index) }
  }

  mutating func closeListener(_ index: Int) {
    if listeners[index].pausedUntil != nil { pausedListeners -= 1 }
    listeners[index].pausedUntil = nil
    io.close(listeners[index].descriptor)
    listeners[index].descriptor = -1
  }
}
