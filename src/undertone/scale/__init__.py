"""Past one machine: the functions of the other rooms, placed on a Ray cluster (extra ``scale``).

    pack      recordings into shards, so that a million small files are not needed
    places    files by local path or URL (fsspec)
    parts     a manifest or a folder of shards, cut into parts; a part is what is done, lost and done again
    stage     one part's utterances with their recordings at hand
    stream    parts through a pool of actors (Ray Data): each leaves one file named after what went into it
    extract · predict · align      what an actor does with a part
    trials    cross-validation and search (Ray Tune)
    group     one fit over several machines (Ray Train)
    deploy    the server's application with replicas (Ray Serve)

Ray is imported inside functions alone; ``cluster`` is the door to it.
"""
