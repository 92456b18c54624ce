fish_add_path --global --move --path @DIRECTORY@
