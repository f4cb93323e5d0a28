"""How long things take, in simulated seconds: what a real xapi 24.16 was seen to do, else a plain guess.

Sources stand beside each value ("seen": observed on a real xapi with an emulated hypervisor).
"""

FAILED_LOGIN = 2.3  # seen; newer versions sleep 5 s
SESSION_IDLE = 24 * 3600.0  # a session that is not used for so long ends ...
SESSIONS_KEPT = 500  # ... or when its originator has more
SESSION_NOTED = 600.0  # how often last_active is written
FROZEN_LOOK = 0.1  # between two looks at whether a daemon that stands still goes on
TASK_CANCEL = 0.05  # seen: from cancel to status cancelled
TASK_KEPT = 65 * 60.0  # completed tasks are collected after that ...
TASKS_KEPT = 200  # ... or as soon as there are more than this

# pool.join, from the call (seen)
JOIN_CHECKS = 0.4
JOIN_EXCHANGE = 1.07
JOIN_LISTED = 1.58
JOIN_IMPORTED = 1.82
JOIN_RETURNS = 1.97
JOIN_EXCHANGED = 1.13
JOIN_IMPORT_BEGINS = 1.75
JOIN_GONE = 14.7
JOIN_SLAVE = 15.9
JOIN_LIVE = 20.73
JOIN_FILLED = 20.79
JOIN_STARTED = 20.95
JOIN_ENABLED = 21.17
JOIN_REFUSED = {"SESSION_AUTHENTICATION_FAILED": 2.5, "JOINING_HOST_CONNECTION_FAILED": 3.1,
                "JOINING_HOST_CANNOT_HAVE_RUNNING_VMS": 0.5, "HOST_IS_SLAVE": 0.0}
JOIN_UNKNOWN_NAME = 6.1
JOIN_KNOCKS = 0.1  # at a live address that is no host's

# pool.eject, from the call (seen; the reboot takes minutes on metal)
EJECT_RETURNS = 0.12
EJECT_GONE = 12.3
EJECT_BACK = 13.5

# designate_new_master, from the call (seen)
DESIGNATE_RETURNS = 0.6
DESIGNATE_GONE = 10.4
DESIGNATE_SWITCHED = 11.5
DESIGNATE_LIVE = 19.3
DESIGNATE_ENABLED = 19.8
DESIGNATE_AGREED = 600.0  # how long a member that has agreed to a new master refuses others

# restart_agent, from the call (seen): gone, answering again, agent_start_time, enabled
RESTART_MEMBER = (2.0, 3.2, 11.2, 11.4)
RESTART_MASTER = (3.9, 5.3, 5.3, 13.4)

DECLARED_DEAD = 600.0  # host_assumed_dead_interval
BOOTING_BEFORE_ENABLED = 0.6  # when a restarted member answers HOST_STILL_BOOTING for a moment (seen) ...
BOOTING_LASTS = 0.2  # ... and how long
HELLO_RETRY = 5.0  # a member whose master does not answer yet
EMERGENCY_RETRY = 60.0  # a member whose master is away starts again after 60-180 s
MASTER_MISSED = 60.0  # how long a member goes on without its master before it starts again; a guess
FUSE = 10.0  # from the reply of a change of role to the end of the toolstack
LOCK_STEP = (1.0, 20.0)  # how long a waiting host operation sleeps before it looks again ...
LOCK_PATIENCE = 2 * 3600.0  # ... and when it gives up
HEARTBEAT = 30.0  # of members to their master

REBOOT_TIMER = 10.0  # from the reply to the way down (seen) ...
REBOOT_DOWN = 2.0  # ... and from an empty host to one that is down (seen)
LEAVING_LEAST = 240.0  # how long a host that goes down waits for its guests to move, at least ...
LEAVING_RATE = 1000.0 * 2**20  # ... and by their memory, bit/s
REBOOT_ENABLED = 8.0  # from xapi's return to enabled (seen)

VM_START = 1.0  # a guess: domain building
VM_CLEAN_SHUTDOWN = 2.0  # a guess
VM_HARD_SHUTDOWN = 0.3  # a guess
VM_PAUSE = 0.1  # a guess
VM_REBOOT = 3.0  # a guess
MIGRATE_UNSENT = 0.04  # seen: a logout sooner after the call makes a migration fail in another way than a later one
VM_STATE_EARLIER = 0.12  # seen: how long before the end of its operation a VM shows its new state
VM_UPDATE_LASTS = 0.007  # seen: a task that shows for a moment when a VM has started
VM_SUSPEND_RATE = 200e6  # bytes/s to the suspend SR, a guess
CERTIFICATE_REFRESH = 10.7  # seen
STORAGE_MIGRATES = 3  # of a host, at once
WORKERS = 4  # threads for VM operations in each host's hypervisor daemon

MIGRATE_ATTEMPTS = 3  # with a guest that reboots meanwhile
MIGRATE_SETUP = 2.0
MIGRATE_TEARDOWN = 2.0
MIGRATE_PAUSE = 0.3
MIGRATE_ROUNDS = 5  # Xen stops copying after 5 rounds ...
MIGRATE_DIRTY_LEFT = 50 * 4096  # ... or when fewer than 50 pages are dirty
MIGRATE_CHUNKS = 8  # how often the first round tells its progress
