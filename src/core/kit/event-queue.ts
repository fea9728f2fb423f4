/** The event queue: key (timeNs, rank, sequence). */
